"""Session events. Stream `session-<id>`, routing keys `v1.<sessionId>.session.*`."""

from enum import StrEnum
from typing import ClassVar

from pydantic import ConfigDict, Field

from wa_contracts.session_options import PacingLimits, Presence, Receive
from wa_contracts.wire import UtcDatetime, Wire


class SessionStatus(StrEnum):
    """The states of a session that users see."""

    STARTING = "starting"
    SCAN_QR = "scan_qr"
    CONNECTING = "connecting"
    WORKING = "working"
    DISCONNECTED = "disconnected"
    RESTRICTED = "restricted"
    LOGGED_OUT = "logged_out"
    BANNED = "banned"
    STOPPED = "stopped"
    FAILED = "failed"


class DesiredState(StrEnum):
    """The desired state of a session, set by the operator."""

    RUNNING = "running"
    STOPPED = "stopped"


class Event(Wire):
    """A fact. `TYPE` is its name on the wire, `VERSION` the version of its shape."""

    model_config = ConfigDict(extra="ignore")
    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1


class SessionCreated(Event):
    """An operator opened a session."""

    TYPE: ClassVar[str] = "session.created"
    name: str | None = None


class SessionUpdated(Event):
    """An operator changed options of the session. Carries all options."""

    TYPE: ClassVar[str] = "session.updated"
    name: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    receive: Receive = Receive()
    proxy: str | None = None
    """The proxy's address, without user and password."""
    device_name: str | None = None
    presence: Presence = Presence.UNAVAILABLE
    pacing: PacingLimits | None = None
    keep_media: bool = False
    """Media of incoming messages is stored when it arrives."""


class SessionStarting(Event):
    """The session's engine is being started."""

    TYPE: ClassVar[str] = "session.starting"
    reason: str


class QRIssued(Event):
    """WhatsApp gave a QR code to scan. `qr` is None in the log stream, which outlives the code.

    `reason` is why a scan of the last code led to no link, such as `no_multidevice`.
    """

    TYPE: ClassVar[str] = "session.qr_issued"
    qr: str | None
    expires_at: UtcDatetime
    reason: str | None = None


class QRExpired(Event):
    """The last QR code of an attempt ran out unscanned; `session.failed` follows."""

    TYPE: ClassVar[str] = "session.qr_expired"


class SessionConnecting(Event):
    """The session is linked and its engine logs in."""

    TYPE: ClassVar[str] = "session.connecting"
    phone_number: str | None = None
    reason: str | None = None


class SessionConnected(Event):
    """WhatsApp accepted the login: the session works."""

    TYPE: ClassVar[str] = "session.connected"
    phone_number: str
    connected_at: UtcDatetime
    metadata: dict[str, str] = Field(default_factory=dict)


class SessionDisconnected(Event):
    """The connection is gone; the gateway tries again by itself, at `retry_at` if known.

    With `client_outdated`, `engine` and `client_version` are what WhatsApp refused.
    """

    TYPE: ClassVar[str] = "session.disconnected"
    reason: str
    message: str
    retry_at: UtcDatetime | None = None
    engine: str | None = None
    client_version: str | None = None


REACHOUT_TIMELOCK = "reachout_timelock"
"""The reason of a restriction under which only first messages to new chats wait."""


class SessionRestricted(Event):
    """WhatsApp restricts the account for a while; the queue waits until `until` if known.

    With `reachout_timelock` only first messages to new chats wait. `session.connected` follows
    when WhatsApp takes one again.
    """

    TYPE: ClassVar[str] = "session.restricted"
    reason: str
    message: str
    until: UtcDatetime | None = None


class SessionLoggedOut(Event):
    """The link is gone: by the operator (`operator`), from the phone (`phone`), or by WhatsApp.

    With `whatsapp`, `message` has WhatsApp's words.
    """

    TYPE: ClassVar[str] = "session.logged_out"
    reason: str
    message: str | None = None


class SessionBanned(Event):
    """WhatsApp banned the number."""

    TYPE: ClassVar[str] = "session.banned"
    reason: str
    message: str


class SessionStopped(Event):
    """The operator stopped the session; its link is kept."""

    TYPE: ClassVar[str] = "session.stopped"


class SessionFailed(Event):
    """The session cannot go on by itself, for example `qr_expired`."""

    TYPE: ClassVar[str] = "session.failed"
    reason: str
    message: str


class SessionDeleted(Event):
    """The session is logged out and forgotten. The last event of its stream."""

    TYPE: ClassVar[str] = "session.deleted"


SESSION_EVENTS: tuple[type[Event], ...] = (
    SessionCreated,
    SessionUpdated,
    SessionStarting,
    QRIssued,
    QRExpired,
    SessionConnecting,
    SessionConnected,
    SessionDisconnected,
    SessionRestricted,
    SessionLoggedOut,
    SessionBanned,
    SessionStopped,
    SessionFailed,
    SessionDeleted,
)
