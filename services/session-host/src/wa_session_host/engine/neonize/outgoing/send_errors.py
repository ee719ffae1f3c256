"""What each error text of the engine says about a send: one table, first match wins.

Source of the texts: whatsmeow, `send.go`, `request.go`, `errors.go`, `user.go`, `group.go`,
`upload.go`, `mediaconn.go`, `socket/framesocket.go`; neonize, `goneonize/main.go`. WhatsApp does
not document its numbers: where only reports of users give the meaning, the row says so.
"""

import re
from enum import Enum
from typing import NamedTuple

from wa_session_host.engine.port import NotNow, NotSent, OutcomeUnknown, SendRefused

SendError = NotSent | NotNow | SendRefused | OutcomeUnknown


class Verdict(Enum):
    """Certainty of an error. All but UNKNOWN are certain that no message left."""

    SESSION_WAITS = "no message can be sent now"
    SET_ASIDE = "this message cannot be sent now"
    REFUSED = "this message will never be sent"
    UNKNOWN = "the message may have left"


class Row(NamedTuple):
    """`pattern` is searched in the text; `says` is for people, the text itself if empty."""

    pattern: str
    verdict: Verdict
    code: str = ""
    says: str = ""


WAITS, ASIDE, REFUSED, UNKNOWN = Verdict
RATE_LIMITED = "rate_limited_by_whatsapp"
UNAVAILABLE = "whatsapp_unavailable"
MEDIA_REFUSED = "media_refused_by_whatsapp"

_SLOW_DOWN = "WhatsApp limits the rate of this number. The gateway tries again by itself."
_NO_ANSWER = "WhatsApp did not answer in time or has an outage. The gateway tries again by itself."
_MALFORMED = "WhatsApp calls this recipient malformed."
_NO_ADDRESS = (
    "WhatsApp gives no address for this number, although it has an account. The gateway tries again "
    "by itself."
)
_FORBIDDEN = "WhatsApp does not let this number write to the group: only its admins may."
_TIMELOCK = (
    "WhatsApp restricts this number: it may not open new chats for now. The gateway tries again "
    "by itself."
)
_MAY_NOT_WRITE = (
    "WhatsApp does not let this number write to the recipient (403). By reports, the number has "
    "blocked the recipient, or may not write to it for an hour or two."
)
_QUERY = r"info query returned status "

TABLE = (
    # The connection, before the first frame. request.go, client.go: sendNodeAndGetData
    Row(r": websocket not connected", WAITS),
    Row(r"the store doesn't contain a device|client is nil|client not found", WAITS),
    Row(r"before info query( \(retry\))? returned response", WAITS),
    Row(r": frame socket is closed", WAITS),
    # Answers to queries: number, group, devices, media hosts. errors.go: IQError
    Row(r"no LID found", ASIDE, UNAVAILABLE, _NO_ADDRESS),  # a number query said it exists
    Row(r"Function returned nothing\.", REFUSED, "invalid_recipient", _MALFORMED),
    Row(r"not participating in that group", REFUSED, "not_in_group", "You are not in this group."),
    Row(r"that group does not exist", REFUSED, "group_not_found", "There is no such group."),
    Row(_QUERY + r"(419|429)", ASIDE, RATE_LIMITED, _SLOW_DOWN),
    Row(_QUERY + r"(5\d\d)", ASIDE, UNAVAILABLE, _NO_ANSWER),
    Row(r"media connections: .*" + _QUERY, ASIDE, UNAVAILABLE, _NO_ANSWER),
    Row(_QUERY + r"(400|406)", REFUSED, "invalid_recipient", _MALFORMED),
    Row(r"group members: " + _QUERY + r"(401|403|405)", REFUSED, "not_in_group"),
    Row(r"group members: " + _QUERY + r"(404|410)", REFUSED, "group_not_found"),
    Row(_QUERY, REFUSED, "send_failed"),
    Row(r"info query (timed out|returned un)|unknown info query error", ASIDE, UNAVAILABLE, _NO_ANSWER),
    Row(r"missing <\w+> element in response", ASIDE, UNAVAILABLE, _NO_ANSWER),
    # The upload. upload.go, mediaconn.go
    Row(r"upload failed with status code 429", ASIDE, RATE_LIMITED, _SLOW_DOWN),
    Row(r"upload failed with status code (401|408|5\d\d)", ASIDE, UNAVAILABLE, _NO_ANSWER),
    Row(r"upload failed with status code 413", REFUSED, MEDIA_REFUSED, "The file is too large for WhatsApp."),
    Row(r"upload failed with status code 415", REFUSED, MEDIA_REFUSED, "WhatsApp does not take this kind of file."),
    Row(r"upload failed with status code", REFUSED, MEDIA_REFUSED),
    Row(r"failed to (execute request|parse upload response|refresh media conn)", ASIDE, UNAVAILABLE, _NO_ANSWER),
    Row(r"failed to (prepare request|encrypt file|hash data)", REFUSED, "send_failed"),
    # The message cannot be put into a frame. send.go, framesocket.go
    Row(r"unknown server|unknown user server|with no device part|broadcast lists", REFUSED, "invalid_recipient"),
    Row(r"frame too large|failed to marshal", REFUSED, "send_failed"),
    # The device store, before the first frame. send.go
    Row(
        r"failed to (get LID for PN|get device list|get group members|get user info|fetch LID|"
        r"prefetch sessions|save cached sessions|store LID|create sender key|encrypt group)",
        ASIDE, "internal", "The engine's store failed. The gateway tries again by itself.",
    ),
    # The server's answer to the message: it did not take it. send.go: ErrServerReturnedError
    Row(r"server returned error 463\b", ASIDE, "reachout_timelock", _TIMELOCK),  # by reports
    Row(r"server returned error (419|429)\b", ASIDE, RATE_LIMITED, _SLOW_DOWN),
    Row(r"server returned error 5\d\d\b", ASIDE, UNAVAILABLE, _NO_ANSWER),
    # Nobody has seen a number that tells a block by the recipient: such a message is acknowledged.
    Row(r"server returned error 403\b", REFUSED, "send_failed", _MAY_NOT_WRITE),  # by reports
    Row(r"server returned error", REFUSED, "send_failed"),
    # A frame left, or may have: no ack. send.go, request.go: retryFrame
    Row(r"timed out waiting for message send response", UNKNOWN),
    Row(r"before message send( \(retry\))? returned response", UNKNOWN),
    Row(r"^(websocket not connected|frame socket is closed|context (canceled|deadline exceeded))$", UNKNOWN),
    Row(r"failed to send message node: ", UNKNOWN),
)  # fmt: skip

IN_GROUPS = (
    # An announcement group's refusal is not publicly known. 420 is reported for groups only.
    Row(r"server returned error (401|403|405|420)\b", REFUSED, "group_send_forbidden", _FORBIDDEN),
)


def send_error(text: str, *, to_group: bool = False) -> SendError:
    """The certainty of a failed send. An unrecognised text leaves it unknown."""
    for row in (*(IN_GROUPS if to_group else ()), *TABLE):
        if re.search(row.pattern, text, re.IGNORECASE):
            return _as_error(row, text)
    return OutcomeUnknown(text, unrecognised=True)


def preparation_error(text: str) -> SendError:
    """The same before the send itself, in a query or an upload: certainly nothing left."""
    found = send_error(text)
    if isinstance(found, OutcomeUnknown):
        if not found.unrecognised:
            return NotSent(text)
        return NotNow("internal", f"The engine failed: {text}.", unrecognised=True)
    return found


def _as_error(row: Row, text: str) -> SendError:
    says = row.says or f"WhatsApp refused the message: {text}."
    match row.verdict:
        case Verdict.SESSION_WAITS:
            return NotSent(text)
        case Verdict.SET_ASIDE:
            return NotNow(row.code, says)
        case Verdict.REFUSED:
            return SendRefused(row.code, says)
        case Verdict.UNKNOWN:
            return OutcomeUnknown(text)
