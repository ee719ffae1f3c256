"""What commands and observations do to a session: given events, when …, then events."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from wa_contracts.ids import CommandId, SessionId
from wa_contracts.internal.commands import (
    CreateSession,
    DeleteSession,
    LogOutSession,
    RestartSession,
    StopSession,
)
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
from wa_session_host.domain import session as domain
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
from wa_session_host.domain.observing import LOCKED, observe
from wa_session_host.domain.session import SessionLinked

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
ID = SessionId(UUID(int=1))

CREATED = (SessionCreated(name="Sales"), SessionStarting(reason="created"))
SHOWN = (*CREATED, QRIssued(qr="text", expires_at=LATER))
LINKED = (
    *SHOWN,
    SessionLinked(jid="919876543210:1@s.whatsapp.net", phone_number="919876543210"),
    SessionConnecting(phone_number="919876543210", reason="linked"),
)
CONNECTED = SessionConnected(phone_number="919876543210", connected_at=NOW)
WORKING = (*LINKED, CONNECTED)
LOST = SessionDisconnected(reason="connection_lost", message="gone")
OVER = LOCKED.model_copy(update={"until": NOW - timedelta(seconds=1)})
VERSION, NEWER = ClientVersion("engine 1", "2.3000.1"), ClientVersion("engine 1", "2.3000.2")
OUTDATED = SessionDisconnected(
    reason="client_outdated",
    message="WhatsApp refuses client version 2.3000.1 (engine 1).",
    engine="engine 1",
    client_version="2.3000.1",
)


def given(*events: Event) -> domain.State:
    """The state after these events."""
    state: domain.State = domain.NotCreated()
    for event in events:
        state = domain.evolve(state, event)
    return state


def command(kind: type[domain.Command], **fields: Any) -> domain.Command:
    """A command for the session."""
    return kind(
        **fields,
        id=CommandId(uuid4()),
        session_id=ID,
        correlation_id=uuid4(),
        issued_at=NOW,
        expires_at=LATER,
    )


def test_a_created_session_starts() -> None:
    assert domain.decide(command(CreateSession), given()) == (
        SessionCreated(name=None),
        SessionStarting(reason="created"),
    )


@pytest.mark.parametrize("history", [CREATED, WORKING, (*WORKING, SessionStopped())])
def test_a_repeated_creation_changes_nothing(history: tuple[Event, ...]) -> None:
    assert domain.decide(command(CreateSession), given(*history)) == ()


@pytest.mark.parametrize("kind", [RestartSession, StopSession, LogOutSession, DeleteSession])
def test_an_unknown_or_deleted_session_changes_nothing(kind: type[domain.Command]) -> None:
    deleted = (*WORKING, SessionLoggedOut(reason="operator"), SessionDeleted())
    assert domain.decide(command(kind), given()) == ()
    assert domain.decide(command(kind), given(*deleted)) == ()


@pytest.mark.parametrize(
    ("kind", "history", "expected"),
    [
        (RestartSession, WORKING, (SessionStarting(reason="operator"),)),
        (
            RestartSession,
            (*WORKING, SessionLoggedOut(reason="phone")),
            (SessionStarting(reason="operator"),),
        ),
        (StopSession, WORKING, (SessionStopped(),)),
        (StopSession, (*WORKING, SessionStopped()), ()),
        (LogOutSession, WORKING, (SessionLoggedOut(reason="operator"),)),
        (LogOutSession, (*WORKING, SessionLoggedOut(reason="phone")), ()),
        (DeleteSession, WORKING, (SessionLoggedOut(reason="operator"), SessionDeleted())),
        (DeleteSession, (*WORKING, SessionLoggedOut(reason="phone")), (SessionDeleted(),)),
    ],
)
def test_an_operators_commands(
    kind: type[domain.Command], history: tuple[Event, ...], expected: tuple[Event, ...]
) -> None:
    assert domain.decide(command(kind), given(*history)) == expected


def test_only_a_linked_session_is_unlinked_at_whatsapp() -> None:
    assert domain.unlinks(command(LogOutSession), given(*WORKING))
    assert domain.unlinks(command(DeleteSession), given(*WORKING))
    assert not domain.unlinks(command(LogOutSession), given(*SHOWN))
    assert not domain.unlinks(command(StopSession), given(*WORKING))


@pytest.mark.parametrize(
    ("history", "observation", "expected"),
    [
        (CREATED, QRShown("text", LATER), (QRIssued(qr="text", expires_at=LATER),)),
        (
            SHOWN,
            QRRanOut(),
            (
                QRExpired(),
                SessionFailed(
                    reason="qr_expired",
                    message="The QR code was not scanned in time. Ask for a new one.",
                ),
            ),
        ),
        (
            SHOWN,
            EngineRefused("pairing_failed", "no"),
            (SessionFailed(reason="pairing_failed", message="no"),),
        ),
        (
            SHOWN,
            LinkedDevice("919876543210:1@s.whatsapp.net", "919876543210"),
            LINKED[len(SHOWN) :],
        ),
        (LINKED, LoggedIn(), (CONNECTED,)),
        (WORKING, LoggedIn(), ()),
        (WORKING, ConnectionLost("connection_lost", "gone"), (LOST,)),
        ((*WORKING, LOST), ConnectionLost("connection_lost", "gone"), ()),
        ((*WORKING, LOST), LoggedIn(), (CONNECTED,)),
        (
            WORKING,
            EngineCrashed("engine_ended", "crash"),
            (SessionDisconnected(reason="engine_ended", message="crash"),),
        ),
        (
            WORKING,
            StreamReplaced(),
            (
                SessionDisconnected(
                    reason="stream_replaced",
                    message="Another program took over this link's connection.",
                ),
            ),
        ),
        (
            SHOWN,
            ClientOutdated(VERSION),
            (SessionFailed(reason="client_outdated", message=OUTDATED.message),),
        ),
        (LINKED, ClientOutdated(VERSION), (OUTDATED,)),
        (WORKING, ClientOutdated(VERSION), (OUTDATED,)),
        ((*WORKING, OUTDATED), ClientOutdated(VERSION), ()),
        (
            (*WORKING, OUTDATED.model_copy(update={"client_version": "2.3000.0"})),
            ClientOutdated(VERSION),
            (OUTDATED,),
        ),
        ((*WORKING, OUTDATED), LoggedIn(), (CONNECTED,)),
        (
            SHOWN,
            QRShown("text", LATER, "no_multidevice"),
            (QRIssued(qr="text", expires_at=LATER, reason="no_multidevice"),),
        ),
        (WORKING, LinkRemoved(), (SessionLoggedOut(reason="phone"),)),
        (
            WORKING,
            LinkRemoved("whatsapp", "Unofficial apps are not allowed."),
            (SessionLoggedOut(reason="whatsapp", message="Unofficial apps are not allowed."),),
        ),
        (
            WORKING,
            NumberRestricted("too_many", "slow", LATER),
            (SessionRestricted(reason="too_many", message="slow", until=LATER),),
        ),
        (WORKING, ReachoutLocked(), (LOCKED,)),
        ((*WORKING, LOCKED), ReachoutLocked(), ()),
        (WORKING, ReachoutOpen(), ()),
        ((*WORKING, LOCKED), ReachoutOpen(), (CONNECTED,)),
        ((*WORKING, LOCKED), LoggedIn(), ()),
        ((*WORKING, LOCKED, LOST), LoggedIn(), (CONNECTED, LOCKED)),
        ((*WORKING, LOCKED, LOST, CONNECTED), LoggedIn(), ()),
        ((*WORKING, OVER, LOST), LoggedIn(), (CONNECTED,)),
        ((*WORKING, LOCKED, SessionStarting(reason="operator")), LoggedIn(), (CONNECTED,)),
        (
            WORKING,
            NumberBanned("banned", "bad"),
            (SessionBanned(reason="banned", message="bad"),),
        ),
    ],
)
def test_what_an_engine_sees(
    history: tuple[Event, ...],
    observation: Observation | SendObservation,
    expected: tuple[Event, ...],
) -> None:
    assert observe(observation, given(*history), NOW) == expected


@pytest.mark.parametrize(
    "end",
    [
        SessionStopped(),
        SessionLoggedOut(reason="operator"),
        SessionBanned(reason="banned", message=""),
        SessionFailed(reason="qr_expired", message=""),
    ],
)
def test_a_dying_engine_is_not_heard_any_more(end: Event) -> None:
    assert observe(ConnectionLost("x", "y"), given(*WORKING, end), NOW) == ()
    assert observe(LoggedIn(), given(*WORKING, end), NOW) == ()


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (
            WORKING,
            (SessionConnecting(phone_number="919876543210", reason="host_changed"),),
        ),
        (
            (*WORKING, LOCKED),
            (SessionConnecting(phone_number="919876543210", reason="host_changed"),),
        ),
        (SHOWN, (SessionStarting(reason="host_changed"),)),
        ((*WORKING, SessionStopped()), ()),
        ((*WORKING, SessionLoggedOut(reason="phone")), ()),
    ],
)
def test_a_new_owner_claims_no_connection(
    history: tuple[Event, ...], expected: tuple[Event, ...]
) -> None:
    assert domain.take_over(given(*history), VERSION) == expected


RETAKEN = (SessionConnecting(phone_number="919876543210", reason="host_changed"),)
FAILED = SessionFailed(reason="client_outdated", message="")


@pytest.mark.parametrize(
    ("history", "version", "expected"),
    [
        ((*WORKING, OUTDATED), VERSION, ()),
        ((*WORKING, OUTDATED), NEWER, RETAKEN),
        ((*WORKING, OUTDATED), ClientVersion("engine 2", "2.3000.1"), RETAKEN),
        ((*WORKING, OUTDATED, LOST), VERSION, RETAKEN),
        ((*WORKING, FAILED), VERSION, RETAKEN),
        ((*SHOWN, FAILED), NEWER, ()),
    ],
)
def test_a_refused_version_is_tried_by_no_new_owner_and_another_one_at_once(
    history: tuple[Event, ...], version: ClientVersion, expected: tuple[Event, ...]
) -> None:
    assert domain.take_over(given(*history), version) == expected


def test_log_out_forgets_the_link_and_stop_keeps_it() -> None:
    stopped = given(*WORKING, SessionStopped())
    assert isinstance(stopped, domain.Opened)
    assert stopped.link is not None
    logged_out = given(*WORKING, SessionLoggedOut(reason="phone"))
    assert isinstance(logged_out, domain.Opened)
    assert logged_out.link is None


@pytest.mark.parametrize(
    ("history", "status"),
    [
        ((), None),
        (CREATED, SessionStatus.STARTING),
        (SHOWN, SessionStatus.SCAN_QR),
        (LINKED, SessionStatus.CONNECTING),
        (WORKING, SessionStatus.WORKING),
        ((*WORKING, LOST), SessionStatus.DISCONNECTED),
        (
            (*WORKING, SessionRestricted(reason="x", message="", until=None)),
            SessionStatus.RESTRICTED,
        ),
        ((*WORKING, SessionLoggedOut(reason="phone")), SessionStatus.LOGGED_OUT),
        ((*WORKING, SessionBanned(reason="x", message="")), SessionStatus.BANNED),
        ((*WORKING, SessionStopped()), SessionStatus.STOPPED),
        ((*SHOWN, SessionFailed(reason="qr_expired", message="")), SessionStatus.FAILED),
        ((*WORKING, SessionLoggedOut(reason="x"), SessionDeleted()), None),
    ],
)
def test_every_status(history: tuple[Event, ...], status: SessionStatus | None) -> None:
    assert domain.status_of(given(*history)) == status


_EVENTS = st.sampled_from(
    [
        SessionStarting(reason="operator"),
        SessionLinked(jid="1:1@s.whatsapp.net", phone_number="1"),
        SessionLinked(jid="2:1@s.whatsapp.net", phone_number="2"),
        SessionConnecting(phone_number="1", reason="linked"),
        SessionConnected(phone_number="1", connected_at=NOW),
        SessionDisconnected(reason="connection_lost", message=""),
        SessionLoggedOut(reason="operator"),
        SessionBanned(reason="banned", message=""),
        SessionStopped(),
        SessionDeleted(),
        QRExpired(),
    ]
)


@for_any(st.lists(_EVENTS))
def test_the_newest_event_of_each_type_gives_the_same_state(events: list[Event]) -> None:
    """Retention keeps no other event of a session."""
    life = [SessionCreated(name="Sales"), *events]
    newest = [one for at, one in enumerate(life) if type(one) not in map(type, life[at + 1 :])]
    assert given(*newest) == given(*life)
