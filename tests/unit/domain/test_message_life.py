"""A message's life by a state machine, beside a simple model of it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wa_contracts.ids import CommandId, MessageId, SessionId
from wa_contracts.internal.commands import MessageType, SendMessage
from wa_contracts.internal.refusals import REFUSALS
from wa_contracts.internal.replies import MessageStatus
from wa_contracts.message_events import MessageQueued
from wa_contracts.session_events import Event, SessionStatus
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Content, MessageSendDeferred, MessageSendStarted
from wa_session_host.domain.receipts import events_of
from wa_session_host.domain.snapshots import snapshot

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ID = MessageId(UUID(int=7))
QUEUES = set(SessionStatus) - set(REFUSALS)


class MessageLife(RuleBasedStateMachine):
    """What the owner of a session may do to a message, in any order that its state allows."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.state: domain.State = domain.NotQueued()
        self.model: MessageStatus | None = None
        self.sending = False
        self.acks = 0

    def store(self, *events: Event) -> None:
        """Append and fold."""
        for event in events:
            self.events.append(event)
            self.state = domain.evolve(self.state, event, Content(text="hello"))

    @property
    def facts(self) -> domain.Facts:
        """The queued message's."""
        assert not isinstance(self.state, domain.NotQueued | domain.Refused)
        return self.state.facts

    @rule(status=st.sampled_from(list(SessionStatus)), room=st.booleans(), late=st.booleans())
    def send(self, status: SessionStatus, room: bool, late: bool) -> None:
        """The command comes, perhaps again."""
        command = SendMessage(
            id=CommandId(uuid4()),
            session_id=SessionId(UUID(int=1)),
            correlation_id=uuid4(),
            issued_at=NOW,
            expires_at=NOW if late else NOW + timedelta(hours=1),
            message_id=ID,
            to="919876543210",
            message_type=MessageType.TEXT,
            text="hello",
            fingerprint="f",
        )
        decided = domain.decide_send(command, self.state, status, room=room, now=NOW)
        fresh = self.model is None or isinstance(self.state, domain.Refused)
        if not fresh:
            assert decided == ()
        elif late or status not in QUEUES or not room:
            assert isinstance(decided, tuple)
            self.store(*decided)
            self.model = MessageStatus.FAILED
        else:
            assert isinstance(decided, tuple)
            assert isinstance(decided[0], MessageQueued)
            self.store(*decided)
            self.model = MessageStatus.QUEUED

    @precondition(lambda self: self.model is MessageStatus.QUEUED and not self.sending)
    @rule()
    def start(self) -> None:
        """The runner takes it."""
        self.store(MessageSendStarted(started_at=NOW))
        self.sending = True

    @precondition(lambda self: self.model is MessageStatus.QUEUED and not self.sending)
    @rule()
    def cancel(self) -> None:
        """The operator cancels it."""
        self.store(domain.cancelled(self.facts))
        self.model = MessageStatus.CANCELLED

    @precondition(lambda self: self.sending)
    @rule(outcome=st.sampled_from(["sent", "refused", "unknown", "deferred"]))
    def end(self, outcome: str) -> None:
        """The engine answers, or does not."""
        self.sending = False
        match outcome:
            case "sent":
                self.store(domain.sent(self.facts, "3EB0", NOW))
                self.model, self.acks = MessageStatus.SENT, self.acks + 1
            case "refused":
                self.store(domain.failed(self.facts, "send_failed", "no"))
                self.model = MessageStatus.FAILED
            case "unknown":
                self.store(domain.outcome_unknown(self.facts, "?"))
                self.model = MessageStatus.UNKNOWN
            case _:
                self.store(MessageSendDeferred(reason="not connected"))

    @precondition(lambda self: isinstance(self.state, domain.Sent))
    @rule(read=st.booleans())
    def receipt(self, read: bool) -> None:
        """A receipt comes, perhaps again, perhaps late."""
        assert isinstance(self.state, domain.Sent)
        self.store(*events_of(self.state, "read" if read else "delivered", NOW))
        if read:
            self.model = MessageStatus.READ
        elif self.model is MessageStatus.SENT:
            self.model = MessageStatus.DELIVERED

    @precondition(lambda self: isinstance(self.state, domain.Unknown))
    @rule()
    def prove(self) -> None:
        """A receipt proves that it went out after all."""
        self.store(domain.sent(self.facts, "3EB0", NOW))
        self.model, self.acks = MessageStatus.SENT, self.acks + 1

    @invariant()
    def shown_as_the_model_says(self) -> None:
        """The fold is the model."""
        if self.model is not None:
            assert snapshot(ID, self.state).status is self.model

    @invariant()
    def acknowledged_once_at_most(self) -> None:
        """No message is sent twice."""
        assert self.acks <= 1
        assert sum(event.TYPE == "message.sent" for event in self.events) == self.acks

    @invariant()
    def the_fold_is_of_the_events_alone(self) -> None:
        """Folding again gives the same state."""
        state: domain.State = domain.NotQueued()
        for event in self.events:
            state = domain.evolve(state, event, Content(text="hello"))
        assert state == self.state


TestMessageLife = MessageLife.TestCase
TestMessageLife.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)
