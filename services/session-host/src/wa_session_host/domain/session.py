"""A session: its states, its commands, and the engine's observations."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar

from wa_contracts.internal.commands import (
    CreateSession,
    DeleteSession,
    LogOutSession,
    RestartSession,
    UpdateSession,
)
from wa_contracts.internal.commands import StopSession as StopSessionCommand
from wa_contracts.session_events import (
    REACHOUT_TIMELOCK,
    Event,
    QRExpired,
    QRIssued,
    SessionBanned,
    SessionConnected,
    SessionConnecting,
    SessionCreated,
    SessionDeleted,
    SessionDisconnected,
    SessionFailed,
    SessionLoggedOut,
    SessionRestricted,
    SessionStarting,
    SessionStatus,
    SessionStopped,
    SessionUpdated,
)
from wa_session_host.domain.observations import (
    ClientVersion,
    LinkedDevice,
)
from wa_session_host.domain.session_options import SessionProxySet, change


class SessionLinked(Event):
    """Internal, never published: the device that WhatsApp assigned to this session."""

    TYPE: ClassVar[str] = "session.linked"
    jid: str
    phone_number: str


@dataclass(frozen=True)
class NotCreated:
    """No event yet."""


@dataclass(frozen=True)
class Deleted:
    """Logged out and forgotten: the final state."""


@dataclass(frozen=True)
class Starting:
    """The engine is starting and has reported nothing."""


@dataclass(frozen=True)
class AwaitingScan:
    """A QR code is shown."""

    expires_at: datetime


@dataclass(frozen=True)
class Connecting:
    """Linked, logging in."""


@dataclass(frozen=True)
class Working:
    """Logged in."""

    since: datetime


@dataclass(frozen=True)
class Disconnected:
    """The connection is lost; the engine reconnects.

    `refused` is the version that WhatsApp calls outdated.
    """

    reason: str
    refused: ClientVersion | None = None


@dataclass(frozen=True)
class Restricted:
    """Restricted by WhatsApp; `is_logged_in` where only first messages to new chats wait."""

    until: datetime | None
    is_logged_in: bool = False


@dataclass(frozen=True)
class LoggedOut:
    """The link is removed."""


@dataclass(frozen=True)
class Banned:
    """The number is banned."""


@dataclass(frozen=True)
class Stopped:
    """Stopped by the operator, still linked."""


@dataclass(frozen=True)
class Failed:
    """Needs an operator."""

    reason: str


Condition = (
    Starting
    | AwaitingScan
    | Connecting
    | Working
    | Disconnected
    | Restricted
    | LoggedOut
    | Banned
    | Stopped
    | Failed
)


_STATUSES: Mapping[type[Condition], SessionStatus] = {
    Starting: SessionStatus.STARTING,
    AwaitingScan: SessionStatus.SCAN_QR,
    Connecting: SessionStatus.CONNECTING,
    Working: SessionStatus.WORKING,
    Disconnected: SessionStatus.DISCONNECTED,
    Restricted: SessionStatus.RESTRICTED,
    LoggedOut: SessionStatus.LOGGED_OUT,
    Banned: SessionStatus.BANNED,
    Stopped: SessionStatus.STOPPED,
    Failed: SessionStatus.FAILED,
}


@dataclass(frozen=True)
class Opened:
    """An existing session. `link` is its device at WhatsApp, None until linked.

    `options` are the newest; `proxy` is with user and password. `timelock` is the restriction of
    first messages, also while the connection is lost.
    """

    condition: Condition
    link: LinkedDevice | None = None
    timelock: SessionRestricted | None = None
    options: SessionUpdated = field(default_factory=SessionUpdated)
    proxy: str | None = None


State = NotCreated | Opened | Deleted

Command = (
    CreateSession
    | UpdateSession
    | RestartSession
    | StopSessionCommand
    | LogOutSession
    | DeleteSession
)


def decide(command: Command, state: State) -> tuple[Event, ...]:
    """The events of a command; () without a change (a repeat)."""
    match command, state:
        case CreateSession(), NotCreated():
            created = SessionCreated(name=command.name)
            return (created, *_chosen(command), SessionStarting(reason="created"))
        case _, NotCreated() | Deleted():
            return ()
        case UpdateSession(), Opened():
            return change(state.options, state.proxy, command.changes)
        case RestartSession(), Opened():
            return (SessionStarting(reason="operator"),)
        case StopSessionCommand(), Opened(condition=Stopped()):
            return ()
        case StopSessionCommand(), Opened():
            return (SessionStopped(),)
        case LogOutSession(), Opened(condition=LoggedOut()):
            return ()
        case LogOutSession(), Opened():
            return (SessionLoggedOut(reason="operator"),)
        case DeleteSession(), Opened(condition=LoggedOut()):
            return (SessionDeleted(),)
        case DeleteSession(), Opened():
            return (SessionLoggedOut(reason="operator"), SessionDeleted())
        case _:
            return ()


def _chosen(command: CreateSession) -> tuple[Event, ...]:
    """The options that a creation brings beside the name."""
    if command.changes is None:
        return ()
    return change(SessionUpdated(name=command.name), None, command.changes)


def unlinks(command: Command, state: State) -> bool:
    """Whether the command requires to remove the link at WhatsApp first."""
    return (
        isinstance(command, LogOutSession | DeleteSession)
        and isinstance(state, Opened)
        and state.link is not None
    )


def refused_version(state: State) -> ClientVersion | None:
    """The version that WhatsApp called outdated, while the session waits for another one."""
    match state:
        case Opened(condition=Disconnected(refused=ClientVersion() as refused)):
            return refused
        case _:
            return None


def take_over(state: State, version: ClientVersion) -> tuple[Event, ...]:
    """The first events of a new owner, whose engines have this version: nothing is connected yet.

    A session that waits for another version goes on waiting if this one was refused. One that
    failed for this reason, as earlier versions of the gateway let it, is tried again.
    """
    if refused_version(state) == version:
        return ()
    match state:
        case Opened(condition=Failed(reason="client_outdated"), link=LinkedDevice() as link):
            return (SessionConnecting(phone_number=link.phone_number, reason="host_changed"),)
        case Opened(
            condition=Working() | Connecting() | Disconnected() | Restricted(is_logged_in=True),
            link=LinkedDevice() as link,
        ):
            return (SessionConnecting(phone_number=link.phone_number, reason="host_changed"),)
        case Opened(condition=AwaitingScan() | Starting() | Connecting()):
            return (SessionStarting(reason="host_changed"),)
        case _:
            return ()


def should_run(state: State) -> bool:
    """Whether the session needs an engine."""
    return isinstance(state, Opened) and not isinstance(
        state.condition, LoggedOut | Banned | Stopped | Failed
    )


def is_logged_in(state: State) -> bool:
    """Whether messages can be sent."""
    match state:
        case Opened(condition=Working() | Restricted(is_logged_in=True)):
            return True
        case _:
            return False


def link_of(state: State) -> LinkedDevice | None:
    """The session's device at WhatsApp; None while not linked."""
    return state.link if isinstance(state, Opened) else None


def options_of(state: State) -> SessionUpdated:
    """The operator's options; the defaults for a session that does not exist."""
    return state.options if isinstance(state, Opened) else SessionUpdated()


def proxy_of(state: State) -> str | None:
    """The proxy with user and password; None without one."""
    return state.proxy if isinstance(state, Opened) else None


def status_of(state: State) -> SessionStatus | None:
    """The status in the API; None for a session that does not exist."""
    return _STATUSES[type(state.condition)] if isinstance(state, Opened) else None


def evolve(state: State, event: Event) -> State:
    """The state after an event."""
    match event:
        case SessionCreated():
            return Opened(condition=Starting(), options=SessionUpdated(name=event.name))
        case SessionDeleted():
            return Deleted()
    if not isinstance(state, Opened):
        return state
    match event:
        case SessionUpdated():
            return replace(state, options=event)
        case SessionProxySet():
            return replace(state, proxy=event.proxy)
        case SessionLinked():
            return replace(state, link=LinkedDevice(event.jid, event.phone_number))
        case SessionLoggedOut() | SessionBanned():  # the engine forgets a banned number's device
            return replace(state, condition=_condition(event), link=None, timelock=None)
        case SessionRestricted(reason=reason):
            lock = event if reason == REACHOUT_TIMELOCK else None
            return replace(state, condition=_condition(event), timelock=lock)
        case SessionStarting() | SessionConnected():
            return replace(state, condition=_condition(event), timelock=None)
        case QRExpired():
            return state
        case _:
            return replace(state, condition=_condition(event))


def _refused(event: SessionDisconnected) -> ClientVersion | None:
    if event.engine is None or event.client_version is None:
        return None
    return ClientVersion(event.engine, event.client_version)


_PLAIN: Mapping[type[Event], Condition] = {
    SessionStarting: Starting(),
    SessionConnecting: Connecting(),
    SessionLoggedOut: LoggedOut(),
    SessionBanned: Banned(),
    SessionStopped: Stopped(),
}


def _condition(event: Event) -> Condition:
    match event:
        case QRIssued():
            return AwaitingScan(event.expires_at)
        case SessionConnected():
            return Working(event.connected_at)
        case SessionDisconnected():
            return Disconnected(event.reason, _refused(event))
        case SessionRestricted():
            return Restricted(event.until, is_logged_in=event.reason == REACHOUT_TIMELOCK)
        case SessionFailed():
            return Failed(event.reason)
        case _:
            return _PLAIN[type(event)]
