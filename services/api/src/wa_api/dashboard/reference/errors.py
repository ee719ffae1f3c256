"""Every code of an error answer: what happened, whether a message left, what to do."""

from collections.abc import Sequence
from typing import NamedTuple


class ErrorRow(NamedTuple):
    """One code. `again`: whether the same request may succeed later."""

    code: str
    happened: str
    went_out: str
    to_do: str
    again: str


class ErrorGroup(NamedTuple):
    """Codes that belong together."""

    title: str
    note: str
    rows: Sequence[ErrorRow]


def _refused(code: str, happened: str, to_do: str, again: str = "no") -> ErrorRow:
    """The request was refused: nothing was accepted, nothing left."""
    return ErrorRow(code, happened, "no", to_do, again)


ENDED = (
    ErrorRow("not_on_whatsapp", "the number has no account", "no", "correct the number", "only if its owner joins"),
    ErrorRow("invalid_recipient", "WhatsApp calls the recipient malformed", "no", "correct `to`", "no"),
    ErrorRow("group_not_found", "there is no such group", "no", "correct the group's JID", "no"),
    ErrorRow("not_in_group", "the number is not a member", "no", "let it be added", "after that"),
    ErrorRow("group_send_forbidden", "only admins may write to the group", "no", "make the number an admin", "after that"),
    ErrorRow("blocked_by_recipient", "reserved: WhatsApp does not say that a recipient blocked the number; such a message stays `sent` and is never `delivered`", "no", "respect it", "no"),
    ErrorRow("reachout_timelock", "WhatsApp lets this number open no new chats (463)", "no", "wait; the gateway tries again by itself", "yes"),
    ErrorRow("rate_limited_by_whatsapp", "WhatsApp limits queries or sends of this number (429)", "no", "send less; the gateway tries again by itself", "yes"),
    ErrorRow("whatsapp_unavailable", "WhatsApp did not answer in time, or has an outage", "no", "wait; sends are tried again by themselves", "yes"),
    ErrorRow("media_unavailable", "the media's server refused or is not reachable", "no", "check the address", "yes"),
    ErrorRow("media_refused_by_whatsapp", "WhatsApp's upload server does not take the file", "no", "send a smaller or another file", "no"),
    ErrorRow("media_too_large", "larger than `MEDIA_MAX_BYTES`, or too costly to decode", "no", "send a smaller file", "no"),
    ErrorRow("media_invalid", "the content is not of the type, or empty", "no", "correct `type` or the file", "no"),
    ErrorRow("media_refused", "the address or path may not be read", "no", "see the limits of media in the documentation", "no"),
    ErrorRow("edit_window_over", "an edit came, or waited, longer than about 15 minutes after the message", "no", "send a new message", "no"),
    ErrorRow("send_failed", "any other refusal, with WhatsApp's words", "no", "read the message", "seldom"),
    ErrorRow("outcome_unknown", "no ack came", "perhaps", "look at the phone before a resend", "may send twice"),
    ErrorRow("expired", "not sent within `X-Expires-In`; the sentence names the last reason", "no", "send again", "yes"),
    ErrorRow("internal", "a fault of the gateway or the engine's store", "no", "see the log", "yes"),
)  # fmt: skip

SESSION = (
    _refused("session_scan_qr", "the session is not linked yet", "scan its QR code", "after that"),
    _refused("session_logged_out", "the link was removed", "link the number again", "after that"),
    _refused("session_banned", "WhatsApp banned the number", "appeal on the phone"),
    _refused("session_failed", "the session needs an operator", "restart it", "after that"),
    _refused("session_deleted", "the session was deleted", "use another session"),
    _refused("session_starting", "the engine starts", "try again in a moment", "yes"),
    _refused("session_connecting", "the engine logs in", "try again in a moment", "yes"),
    _refused("session_disconnected", "no connection to WhatsApp; retried by itself", "wait", "yes"),
    _refused("session_restricted", "WhatsApp restricts the number for a while", "wait", "yes"),
    _refused("session_stopped", "an operator stopped the session", "restart it", "after that"),
    _refused("session_working", "the session works: there is no QR code", "nothing"),
    _refused("session_not_found", "there is no such session for this caller", "correct the id"),
    _refused("pairing_unavailable", "no pairing is possible now", "restart the session", "yes"),
    _refused("qr_expired", "nobody scanned the code in time", "restart the session", "after that"),
    _refused("qr_not_ready", "there is no code yet", "ask again in a moment", "yes"),
    _refused("already_linked", "the session is linked to a number already", "nothing"),
)

REQUEST = (
    _refused("invalid_request", "a field, header or parameter is missing or wrong", "see `details`"),
    _refused("unauthorized", "no, wrong or revoked key or token", "send a valid Bearer token"),
    _refused("csrf_failed", "the browser's request has no CSRF token", "reload the page", "yes"),
    _refused("forbidden", "the API key may not do this, whatever its scopes", "use another key"),
    _refused("insufficient_scope", "the API key lacks the scope that the sentence names", "use another key"),
    _refused("not_found", "there is nothing at this address", "correct the path"),
    _refused("message_not_found", "neither id is known to this session", "correct the id"),
    _refused("media_not_found", "the message has no media that is kept", "correct the id"),
    _refused("webhook_not_found", "there is no such webhook", "correct the id"),
    _refused("key_not_found", "there is no such API key, or it has more rights than the caller", "correct the id"),
    _refused("delivery_not_found", "there is no such delivery", "correct the id"),
    _refused("dead_letter_not_found", "there is no such dead letter", "correct the id"),
    _refused("method_not_allowed", "the address does not take this method", "see `Allow`"),
    _refused("not_acceptable", "none of the accepted types can be had", "correct `Accept`"),
    _refused("request_too_slow", "the body did not come in time", "send it faster", "yes"),
    _refused("not_cancellable", "the message is being sent, or has ended", "nothing"),
    _refused("not_resendable", "only a failed, unknown or unreadable message can be sent again", "nothing"),
    _refused("not_editable", "only a sent text or caption can be edited", "send a new message"),
    _refused("not_revocable", "the message cannot be deleted for everyone", "nothing"),
    _refused("not_readable", "only an incoming message can be marked as read", "correct the id"),
    _refused("message_cancelled", "the message was cancelled before it was sent", "send again", "with another key"),
    _refused("token_unreadable", "the token holds, but cannot be shown", "rotate it"),
    _refused("queue_gone", "the dead letter's queue is not there", "delete the letter"),
    _refused("media_not_kept", "the session does not work, and its kept media take all of its room", "wait until the session works", "after that"),
    _refused("media_gone", "WhatsApp does not keep this media any more", "ask its sender"),
    _refused("media_link_invalid", "the link's end or signature was changed, or its key", "use the link as it was given"),
    _refused("media_link_expired", "the link to the media has ended", "use a token, or redeliver the event"),
    _refused("event_gone", "the event is not kept any more", "nothing"),
    _refused("body_too_large", "the body is over its limit", "send less"),
    _refused("unsupported_media_type", "the body is not JSON", "set `Content-Type`"),
    _refused("idempotency_conflict", "the `Idempotency-Key` was used with another body", "use a new key"),
    _refused("rate_limited", "over the session's rate", "wait `Retry-After` seconds", "yes"),
    _refused("queue_full", "the session has too many unsent messages", "wait `Retry-After` seconds", "yes"),
    _refused("too_many_attempts", "too many wrong keys from this address", "wait `Retry-After` seconds", "yes"),
    _refused("too_many_waits", "too many requests wait for their outcome", "send with `Prefer: respond-async`", "yes"),
    _refused("too_many_uploads", "too many uploads of the session are under way", "wait `Retry-After` seconds", "yes"),
    _refused("media_quota_exceeded", "the session's uploads take all of its room", "delete some, or wait until they expire", "after that"),
    _refused("uploads_busy", "too many uploads of all sessions are under way", "wait `Retry-After` seconds", "yes"),
    _refused("media_store_unavailable", "the media store is away; nothing was accepted", "wait `Retry-After` seconds", "yes"),
    _refused("too_many_streams", "too many event streams of this caller", "close some", "yes"),
    _refused("headers_too_large", "the request's headers are too large", "send less"),
    _refused("broker_unavailable", "the broker is away; nothing was accepted", "wait `Retry-After` seconds", "yes"),
    _refused("database_unavailable", "the database is away; nothing was accepted", "wait `Retry-After` seconds", "yes"),
    _refused("host_unavailable", "no session-host answered", "wait `Retry-After` seconds", "yes"),
)  # fmt: skip

ERRORS = (
    ErrorGroup(
        "A message ended",
        "`code` of the answer 500, and `error.code` of the message. An error that waits to be tried "
        "again by itself is `waiting.code` of a queued message.",
        ENDED,
    ),
    ErrorGroup("The session", "`session_<state>` is 409, or 404 for a QR code.", SESSION),
    ErrorGroup("The request", "Nothing was accepted.", REQUEST),
)
