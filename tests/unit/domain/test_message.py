"""What commands and the engine's answers do to a message."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from wa_contracts.ids import CommandId, MessageId, SessionId
from wa_contracts.internal.commands import MessageType, SendMessage
from wa_contracts.internal.replies import ErrorDetail, MessageStatus
from wa_contracts.message_events import (
    MessageDelivered,
    MessageFailed,
    MessagePlayed,
    MessageQueued,
    MessageRead,
    MessageRetryRequested,
)
from wa_contracts.session_events import Event, SessionStatus
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Content, MessageSendDeferred, MessageSendStarted
from wa_session_host.domain.receipts import events_of
from wa_session_host.domain.snapshots import snapshot

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ID = MessageId(UUID(int=7))
CONTENT = Content(text="hello", fingerprint="f")
QUEUED = MessageQueued(
    id=ID, to="919876543210", type=MessageType.TEXT, reference="r", expires_at=LATER
)
STARTED = MessageSendStarted(started_at=NOW)


def send(expires_at: datetime = LATER) -> SendMessage:
    """The command."""
    return SendMessage(
        id=CommandId(uuid4()),
        session_id=SessionId(UUID(int=1)),
        correlation_id=uuid4(),
        issued_at=NOW,
        expires_at=expires_at,
        message_id=ID,
        to="919876543210",
        message_type=MessageType.TEXT,
        text="hello",
        reference="r",
        fingerprint="f",
    )


def given(*events: Event) -> domain.State:
    """The state after these events."""
    state: domain.State = domain.NotQueued()
    for event in events:
        state = domain.evolve(state, event, CONTENT)
    return state


def facts() -> domain.Facts:
    """The queued message's."""
    state = given(QUEUED)
    assert isinstance(state, domain.Queued)
    return state.facts


@pytest.mark.parametrize(
    "status",
    [
        SessionStatus.STARTING,
        SessionStatus.CONNECTING,
        SessionStatus.WORKING,
        SessionStatus.DISCONNECTED,
        SessionStatus.RESTRICTED,
        SessionStatus.STOPPED,
    ],
)
def test_these_states_queue(status: SessionStatus) -> None:
    assert domain.decide_send(send(), given(), status, room=True, now=NOW) == (QUEUED,)


@pytest.mark.parametrize(
    "status",
    [
        SessionStatus.SCAN_QR,
        SessionStatus.LOGGED_OUT,
        SessionStatus.BANNED,
        SessionStatus.FAILED,
    ],
)
def test_these_states_refuse_by_an_event_and_the_same_id_may_come_again(
    status: SessionStatus,
) -> None:
    refused = domain.decide_send(send(), given(), status, room=True, now=NOW)
    assert isinstance(refused, tuple)
    assert isinstance(refused[0], MessageFailed)
    assert refused[0].error.code == f"session_{status}"
    state = given(*refused)
    again = domain.decide_send(send(), state, SessionStatus.WORKING, room=True, now=NOW)
    assert again == (QUEUED,)


def test_no_session_no_room_no_time() -> None:
    unknown = domain.decide_send(send(), given(), None, room=True, now=NOW)
    assert isinstance(unknown, ErrorDetail)
    assert unknown.code == "session_not_found"
    full = domain.decide_send(send(), given(), SessionStatus.WORKING, room=False, now=NOW)
    assert isinstance(full, tuple)
    assert isinstance(full[0], MessageFailed)
    assert full[0].error.code == "queue_full"
    assert domain.decide_send(send(), given(*full), SessionStatus.WORKING, room=True, now=NOW) == (
        QUEUED,
    )
    late = domain.decide_send(send(NOW), given(), SessionStatus.WORKING, room=True, now=NOW)
    assert isinstance(late, tuple)
    assert isinstance(late[0], MessageFailed)
    assert late[0].error.code == "expired"


@pytest.mark.parametrize(
    "history",
    [
        (QUEUED,),
        (QUEUED, STARTED),
        (QUEUED, domain.sent(facts(), "3EB0", NOW)),
        (QUEUED, domain.failed(facts(), "send_failed", "no")),
        (QUEUED, STARTED, domain.outcome_unknown(facts(), "?")),
        (QUEUED, domain.cancelled(facts())),
    ],
)
def test_a_repeated_send_changes_nothing(history: tuple[Event, ...]) -> None:
    state = given(*history)
    assert domain.decide_send(send(), state, SessionStatus.WORKING, room=True, now=NOW) == ()


@pytest.mark.parametrize(
    ("history", "status"),
    [
        ((QUEUED,), MessageStatus.QUEUED),
        ((QUEUED, STARTED), MessageStatus.QUEUED),
        (
            (
                QUEUED,
                STARTED,
                MessageSendDeferred(reason="not connected"),
            ),
            MessageStatus.QUEUED,
        ),
        ((QUEUED, domain.sent(facts(), "3EB0", NOW)), MessageStatus.SENT),
        ((QUEUED, domain.failed(facts(), "send_failed", "no")), MessageStatus.FAILED),
        ((QUEUED, STARTED, domain.outcome_unknown(facts(), "?")), MessageStatus.UNKNOWN),
        ((QUEUED, domain.cancelled(facts())), MessageStatus.CANCELLED),
    ],
)
def test_what_a_reply_shows(history: tuple[Event, ...], status: MessageStatus) -> None:
    assert snapshot(ID, given(*history)).status is status


@pytest.mark.parametrize(
    ("to", "number", "used"),
    [
        ("5511987654321", "551187654321", "551187654321"),
        ("5511987654321@s.whatsapp.net", "551187654321", "551187654321@s.whatsapp.net"),
        ("919876543210", None, "919876543210"),
        ("700000000000002@lid", None, "700000000000002@lid"),
    ],
)
def test_a_sent_message_and_its_receipts_name_the_number_that_was_used(
    to: str, number: str | None, used: str
) -> None:
    event = domain.sent(facts()._replace(to=to), "3EB0", NOW, number=number)
    assert event.to == used
    sent = domain.evolve(domain.Queued(facts()._replace(to=to)), event)
    assert isinstance(sent, domain.Sent)
    (delivered,) = events_of(sent, "delivered", NOW)
    assert isinstance(delivered, MessageDelivered)
    assert delivered.to == used


def test_receipts_only_go_forward() -> None:
    sent = given(QUEUED, domain.sent(facts(), "3EB0", NOW))
    assert isinstance(sent, domain.Sent)
    (delivered,) = events_of(sent, "delivered", NOW)
    assert isinstance(delivered, MessageDelivered)
    after = domain.evolve(sent, delivered)
    assert isinstance(after, domain.Sent)
    assert events_of(after, "delivered", NOW) == ()
    (read,) = events_of(after, "read", NOW)
    assert isinstance(read, MessageRead)
    at_last = domain.evolve(after, read)
    assert isinstance(at_last, domain.Sent)
    assert events_of(at_last, "read", NOW) == ()
    assert events_of(at_last, "delivered", NOW) == ()
    assert snapshot(ID, at_last).status is MessageStatus.READ


def test_a_played_message_is_read_and_played_once() -> None:
    sent = given(QUEUED, domain.sent(facts(), "3EB0", NOW))
    assert isinstance(sent, domain.Sent)
    events = events_of(sent, "played", NOW)
    assert [one.TYPE for one in events] == [MessageRead.TYPE, MessagePlayed.TYPE]
    played = given(QUEUED, domain.sent(facts(), "3EB0", NOW), *events)
    assert isinstance(played, domain.Sent)
    assert events_of(played, "played", NOW) == ()
    assert events_of(played, "read", NOW) == ()


def test_an_unreadable_message_is_told_once_and_keeps_its_status() -> None:
    read = given(QUEUED, domain.sent(facts(), "3EB0", NOW))
    assert isinstance(read, domain.Sent)
    (asked,) = events_of(read, "unreadable", NOW)
    assert isinstance(asked, MessageRetryRequested)
    after = domain.evolve(read, asked)
    assert isinstance(after, domain.Sent)
    assert after.status is MessageStatus.SENT
    assert events_of(after, "unreadable", NOW) == ()


def test_no_published_event_carries_the_content() -> None:
    published = [
        QUEUED,
        domain.sent(facts(), "3EB0", NOW),
        domain.failed(facts(), "send_failed", "no"),
        domain.outcome_unknown(facts(), "?"),
        domain.cancelled(facts()),
    ]
    for event in published:
        assert "hello" not in event.model_dump_json()
