"""A session: its states, its commands, and the engine's observations."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, assert_never

from wa_contracts.internal.commands import (
    CreateSession,
    DeleteSession,
    LogOutSession,
    RestartSession,
)
from wa_contracts.internal.commands import StopSession as StopSessionCommand
from wa_contracts.session_events import (
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
)
from wa_session_host.domain.observations import (
    ConnectionLost,
    EngineCrashed,
    EngineRefused,
    LinkedDevice,
    LinkRemoved,
    LoggedIn,
    NumberBanned,
    NumberRestricted,
    Observation,
    QRRanOut,
    QRShown,
    StreamReplaced,
)


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
    """The connection is lost; the engine reconnects."""

    reason: str


@dataclass(frozen=True)
class Restricted:
    """Restricted by WhatsApp, until a time if WhatsApp named one."""

    until: datetime | None


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


@dataclass(frozen=True)
class Opened:
    """An existing session. `link` is its device at WhatsApp, None until linked."""

    name: str | None
    condition: Condition
    link: LinkedDevice | None = None


State = NotCreated | Opened | Deleted

Command = CreateSession | RestartSession | StopSessionCommand | LogOutSession | DeleteSession


def decide(command: Command, state: State) -> tuple[Event, ...]:
    """The events of a command; () without a change (a repeat)."""
    match command, state:
        case CreateSession(), NotCreated():
            return (SessionCreated(name=command.name), SessionStarting(reason="created"))
        case _, NotCreated() | Deleted():
            return ()
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


def unlinks(command: Command, state: State) -> bool:
    """Whether the command requires to remove the link at WhatsApp first."""
    return (
        isinstance(command, LogOutSession | DeleteSession)
        and isinstance(state, Opened)
        and state.link is not None
    )


def observe(observation: Observation, state: State, now: datetime) -> tuple[Event, ...]:
    """The events of an engine's observation.

    Observations of a session that should not run (stopped, logged out, …) are ignored: they come
    from an ending engine.
    """
    if not isinstance(state, Opened) or not should_run(state):
        return ()
    match observation:
        case QRShown():
            return (QRIssued(qr=observation.qr, expires_at=observation.expires_at),)
        case QRRanOut():
            return (
                QRExpired(),
                SessionFailed(
                    reason="qr_expired",
                    message="The QR code was not scanned in time. Ask for a new one.",
                ),
            )
        case EngineRefused():
            return (SessionFailed(reason=observation.reason, message=observation.message),)
        case LinkedDevice():
            return (
                SessionLinked(jid=observation.jid, phone_number=observation.phone_number),
                SessionConnecting(phone_number=observation.phone_number, reason="linked"),
            )
        case LoggedIn():
            return _logged_in(state, now)
        case ConnectionLost() | EngineCrashed() | StreamReplaced():
            return _lost(observation, state)
        case LinkRemoved():
            return (SessionLoggedOut(reason="phone"),)
        case NumberRestricted():
            return (
                SessionRestricted(
                    reason=observation.reason, message=observation.message, until=observation.until
                ),
            )
        case NumberBanned():
            return (SessionBanned(reason=observation.reason, message=observation.message),)
        case _:
            assert_never(observation)


def _logged_in(state: Opened, now: datetime) -> tuple[Event, ...]:
    if isinstance(state.condition, Working) or state.link is None:
        return ()
    return (SessionConnected(phone_number=state.link.phone_number, connected_at=now),)


def _lost(
    observation: ConnectionLost | EngineCrashed | StreamReplaced, state: Opened
) -> tuple[Event, ...]:
    if isinstance(state.condition, Disconnected) and state.condition.reason == observation.reason:
        return ()
    return (
        SessionDisconnected(
            reason=observation.reason, message=observation.message, retry_at=observation.retry_at
        ),
    )


def take_over(state: State) -> tuple[Event, ...]:
    """A new owner's first events for a session that should run: it is not connected."""
    match state:
        case Opened(
            condition=Working() | Connecting() | Disconnected(), link=LinkedDevice() as link
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


def link_of(state: State) -> LinkedDevice | None:
    """The session's device at WhatsApp; None while not linked."""
    return state.link if isinstance(state, Opened) else None


def status_of(state: State) -> SessionStatus | None:
    """The status in the API; None for a session that does not exist."""
    if not isinstance(state, Opened):
        return None
    match state.condition:
        case Starting():
            return SessionStatus.STARTING
        case AwaitingScan():
            return SessionStatus.SCAN_QR
        case Connecting():
            return SessionStatus.CONNECTING
        case Working():
            return SessionStatus.WORKING
        case Disconnected():
            return SessionStatus.DISCONNECTED
        case Restricted():
            return SessionStatus.RESTRICTED
        case LoggedOut():
            return SessionStatus.LOGGED_OUT
        case Banned():
            return SessionStatus.BANNED
        case Stopped():
            return SessionStatus.STOPPED
        case Failed():
            return SessionStatus.FAILED
        case _:
            assert_never(state.condition)


def evolve(state: State, event: Event) -> State:
    """The state after an event."""
    match event:
        case SessionCreated():
            return Opened(name=event.name, condition=Starting())
        case SessionDeleted():
            return Deleted()
    if not isinstance(state, Opened):
        return state
    match event:
        case SessionLinked():
            return replace(state, link=LinkedDevice(event.jid, event.phone_number))
        case SessionLoggedOut():
            return replace(state, condition=LoggedOut(), link=None)
        case SessionBanned():  # the engine forgets the device of a banned number
            return replace(state, condition=Banned(), link=None)
        case QRExpired():
            return state
        case _:
            return replace(state, condition=_condition(event))


def _condition(event: Event) -> Condition:
    match event:
        case SessionStarting():
            return Starting()
        case QRIssued():
            return AwaitingScan(event.expires_at)
        case SessionConnecting():
            return Connecting()
        case SessionConnected():
            return Working(event.connected_at)
        case SessionDisconnected():
            return Disconnected(event.reason)
        case SessionRestricted():
            return Restricted(event.until)
        case SessionStopped():
            return Stopped()
        case SessionFailed():
            return Failed(event.reason)
        case _:
            raise TypeError(f"{event.TYPE} is no event of a session")
