"""Translates neonize's protobufs and error texts into the port's terms."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from neonize.proto import Neonize_pb2 as proto

from wa_session_host.domain.observations import (
    ConnectionLost,
    EngineCrashed,
    LinkedDevice,
    LinkRemoved,
    NumberBanned,
    NumberRestricted,
    ReceiptKind,
    ReceiptSeen,
    Seen,
    StreamReplaced,
)
from wa_session_host.engine.port import DownloadFailed

BANNED_REASONS = {
    proto.ConnectFailureReason.MAIN_DEVICE_GONE: (
        "locked",
        "WhatsApp locked this account or logged its phone out: open WhatsApp on the phone.",
    ),
    proto.ConnectFailureReason.UNKNOWN_LOGOUT: ("banned", "WhatsApp banned this number."),
}
"""403 and 406, LOCKED and BANNED in WhatsApp Web's code. The engine uses older names, and forgets
the device in both cases. Source: whatsmeow, ConnectFailureReason.
"""


def parse_jid(text: str) -> proto.JID:
    """Parse `user[:device]@server`."""
    user, _, server = text.partition("@")
    name, _, device = user.partition(":")
    return proto.JID(
        User=name, Device=int(device or 0), Server=server, RawAgent=0, Integrator=0, IsEmpty=False
    )


def own_address(device: LinkedDevice | None) -> str:
    """The JID of a linked number, without the device; empty before the link."""
    return "" if device is None else f"{device.phone_number}@s.whatsapp.net"


def format_jid(jid: proto.JID) -> str:
    """Format as `user[:device]@server`, the device store's form."""
    device = f":{jid.Device}" if jid.Device else ""
    return f"{jid.User}{device}@{jid.Server}"


MEDIA_GONE = re.compile(r"status code (403|404|410)\b")
"""The media server has the file no more. Source: whatsmeow, errors.go."""


def download_error(text: str) -> DownloadFailed:
    """Whether a failed download may succeed later, by its error text."""
    if MEDIA_GONE.search(text):
        return DownloadFailed("media_gone", "WhatsApp does not keep this media any more.")
    return DownloadFailed("media_unavailable", f"The media could not be downloaded: {text}.")


def connection_observations(event: object, words: str = "") -> tuple[Seen, ...]:
    """Observations about the connection or the account; () for other events.

    `words` are WhatsApp's in its last refusal.
    """
    match event:
        case proto.KeepAliveTimeout():
            return (ConnectionLost("keepalive_timeout", "WhatsApp does not answer keep-alives."),)
        case proto.Disconnected():
            return (ConnectionLost("connection_lost", "The connection to WhatsApp was lost."),)
        case proto.StreamError():
            return (ConnectionLost("stream_error", f"WhatsApp ended the stream: {event.Code}."),)
        case proto.StreamReplaced():
            return (StreamReplaced(),)
        case proto.LoggedOut():
            return _logged_out(event, words)
        case proto.TemporaryBan():
            until = datetime.now(UTC) + timedelta(seconds=event.Expire) if event.Expire else None
            name = proto.TemporaryBan.TempBanReason.Name(event.Code).lower()
            return (NumberRestricted(name, "WhatsApp restricts this number for a while.", until),)
        case proto.ConnectFailure():
            name = proto.ConnectFailureReason.Name(event.Reason).lower().replace("_", " ")
            message = f"WhatsApp refused the connection: {words or event.Message or name}."
            return (EngineCrashed("connect_failure", message),)
        case _:
            return ()


def _logged_out(event: proto.LoggedOut, words: str) -> tuple[Seen, ...]:
    if event.Reason in BANNED_REASONS:
        reason, message = BANNED_REASONS[event.Reason]
        return (NumberBanned(reason, words or message),)
    if event.OnConnect and words:
        return (LinkRemoved("whatsapp", words),)
    return (LinkRemoved(),)


def receipt_observations(event: proto.Receipt) -> tuple[Seen, ...]:
    """A receipt for our messages that tells something; () for any other."""
    kinds: Mapping[int, ReceiptKind] = {
        proto.Receipt.DELIVERED: "delivered",
        proto.Receipt.READ: "read",
        proto.Receipt.PLAYED: "played",
    }
    if event.Type not in kinds or event.MessageSource.IsFromMe:
        return ()
    return (
        ReceiptSeen(
            chats=(format_jid(event.MessageSource.Chat),),
            message_ids=tuple(event.MessageIDs),
            kind=kinds[event.Type],
            at=from_timestamp(event.Timestamp),
        ),
    )


def from_timestamp(value: int) -> datetime:
    """Parse seconds, milliseconds or nanoseconds since 1970; the library uses all three."""
    while value > 100_000_000_000:
        value //= 1000
    return datetime.fromtimestamp(value, UTC) if value else datetime.now(UTC)
