"""Decides which events an engine's observation makes."""

from datetime import datetime
from typing import assert_never

from wa_contracts.session_events import (
    REACHOUT_TIMELOCK,
    Event,
    QRExpired,
    QRIssued,
    SessionBanned,
    SessionConnected,
    SessionConnecting,
    SessionDisconnected,
    SessionFailed,
    SessionLoggedOut,
    SessionRestricted,
)
from wa_session_host.domain.observations import (
    ClientOutdated,
    ClientVersion,
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
    ReachoutLocked,
    ReachoutOpen,
    SendObservation,
    StreamReplaced,
)
from wa_session_host.domain.session import (
    Disconnected,
    Opened,
    SessionLinked,
    State,
    Working,
    is_logged_in,
    should_run,
)

CLIENT_OUTDATED = "client_outdated"
LOCKED = SessionRestricted(
    reason=REACHOUT_TIMELOCK,
    message="WhatsApp lets this number open no new chats for now (463).",
    until=None,
)


def observe(
    observation: Observation | SendObservation, state: State, now: datetime
) -> tuple[Event, ...]:
    """The events of an engine's observation.

    Observations of a session that should not run (stopped, logged out, …) are ignored: they come
    from an ending engine.
    """
    if not isinstance(state, Opened) or not should_run(state):
        return ()
    match observation:
        case QRShown():
            return (
                QRIssued(
                    qr=observation.qr,
                    expires_at=observation.expires_at,
                    reason=observation.problem,
                ),
            )
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
        case ClientOutdated():
            return _outdated(observation.version, state)
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
            return (SessionLoggedOut(reason=observation.reason, message=observation.message),)
        case NumberRestricted() | NumberBanned() | ReachoutLocked() | ReachoutOpen():
            return _judged(observation, state, now)
        case _:
            assert_never(observation)


def _judged(
    observation: NumberRestricted | NumberBanned | SendObservation, state: Opened, now: datetime
) -> tuple[Event, ...]:
    """What WhatsApp lets the account do."""
    match observation:
        case NumberRestricted():
            return (
                SessionRestricted(
                    reason=observation.reason, message=observation.message, until=observation.until
                ),
            )
        case NumberBanned():
            return (SessionBanned(reason=observation.reason, message=observation.message),)
        case ReachoutLocked():
            return (LOCKED,) if isinstance(state.condition, Working) else ()
        case ReachoutOpen():
            return _connected(state, now) if state.timelock is not None else ()


def _logged_in(state: Opened, now: datetime) -> tuple[Event, ...]:
    """A restriction of first messages goes on through a new connection, until its end."""
    if is_logged_in(state):
        return ()
    connected, lock = _connected(state, now), state.timelock
    if connected and lock is not None and (lock.until is None or lock.until > now):
        return (*connected, lock)
    return connected


def _connected(state: Opened, now: datetime) -> tuple[Event, ...]:
    if state.link is None:
        return ()
    return (
        SessionConnected(
            phone_number=state.link.phone_number,
            connected_at=now,
            metadata=state.options.metadata,
        ),
    )


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


def _outdated(version: ClientVersion, state: Opened) -> tuple[Event, ...]:
    """A linked session waits for another version. One that is being linked fails."""
    message = f"WhatsApp refuses client version {version.client} ({version.engine})."
    if state.link is None:
        return (SessionFailed(reason=CLIENT_OUTDATED, message=message),)
    if state.condition == Disconnected(CLIENT_OUTDATED, version):
        return ()
    return (
        SessionDisconnected(
            reason=CLIENT_OUTDATED,
            message=message,
            engine=version.engine,
            client_version=version.client,
        ),
    )
