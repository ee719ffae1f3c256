"""The whole ring beside a simple model of it: whatever clients do, in any order, both agree."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from deploy.servers.databases import Databases
from tests.faults.field import stored_events
from tests.infrastructure import NewBroker, NewDatabase
from tests.system.ring_in_process import RingInProcess

WITHIN = 60.0
SENT = {"sent", "delivered"}

OUTCOMES = {
    "919876543210": (200, None, SENT),
    "919876540000": (500, "not_on_whatsapp", {"failed"}),
    "919876540001": (500, "send_failed", {"failed"}),
    "919876540002": (500, "outcome_unknown", {"unknown"}),
}
"""What the simulated engine does with a message to these: answer, code, and status."""

_numbers = count(1)


@dataclass
class Message:
    """A message as the model knows it."""

    id: str
    to: str
    statuses: set[str]


@dataclass
class Session:
    """A session as the model knows it: `working`, `stopped`, `logged_out` or `deleted`."""

    id: str
    client: httpx.Client
    status: str = "working"
    messages: list[Message] = field(default_factory=list)

    def queued(self) -> list[Message]:
        """What waits to be sent."""
        return [message for message in self.messages if message.statuses == {"queued"}]


@dataclass
class Keyed:
    """A send with a key, and its answer, which is final."""

    session: Session
    key: str
    body: dict[str, Any]
    answer: httpx.Response


def soon(probe: Callable[[], Any], what: str) -> Any:
    """The probe's first answer without an AssertionError."""
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            return probe()
        except AssertionError as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"not in time: {what}: {error}") from error
        time.sleep(0.02)  # between two looks at the condition, until its deadline


class RingModel(RuleBasedStateMachine):
    """Clients and an operator of one ring, which outlives the examples."""

    sessions: Bundle[Session] = Bundle("sessions")
    sends: Bundle[Keyed] = Bundle("sends")

    def __init__(self, ring: RingInProcess) -> None:
        super().__init__()
        self.ring = ring
        self.all: list[Session] = []
        self.host_was_replaced = False

    @initialize(target=sessions)
    def first(self) -> Session:
        """Nothing can be done without a session."""
        return self._open()

    @rule(target=sessions)
    def another(self) -> Session:
        """One more."""
        return self._open()

    def _open(self) -> Session:
        answer = self.ring.admin.post("/api/sessions", json={"name": "model"})
        assert answer.status_code == 201, answer.text
        body = answer.json()
        session = Session(body["sessionId"], self.ring.client(body["token"]))
        self.all.append(session)
        self._is_shown(session)
        return session

    @rule(target=sends, session=sessions, to=st.sampled_from(sorted(OUTCOMES)), keyed=st.booleans())
    def send(self, session: Session, to: str, keyed: bool) -> Any:
        """A text, which the session's state and its recipient decide about."""
        number = next(_numbers)
        body = {"to": to, "type": "text", "message": f"text {number}", "reference": f"r{number}"}
        headers = {"Idempotency-Key": f"key-{number}"} if keyed else {}
        if session.status == "stopped":
            headers["Prefer"] = "respond-async"
        answer = session.client.post("/api/messages/send", json=body, headers=headers)
        match session.status:
            case "deleted":
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            case "logged_out":
                assert (answer.status_code, answer.json()["code"]) == (409, "session_logged_out")
            case "stopped":
                assert answer.status_code == 202, answer.text
                session.messages.append(Message(answer.json()["id"], to, {"queued"}))
            case _:
                status, code, statuses = OUTCOMES[to]
                assert (answer.status_code, answer.json().get("code")) == (status, code)
                known = self._by_reference(session, body["reference"])
                session.messages.append(Message(known["id"], to, statuses))
                if keyed:
                    return Keyed(session, f"key-{number}", body, answer)
        return multiple()

    def _by_reference(self, session: Session, reference: str) -> dict[str, Any]:
        def found() -> dict[str, Any]:
            query = {"sessionId": session.id, "reference": reference}
            items = self.ring.admin.get("/api/messages", params=query).json()["items"]
            assert len(items) == 1, items
            one: dict[str, Any] = items[0]
            return one

        return soon(found, f"the message {reference} is listed")  # type: ignore[no-any-return]

    @rule(sent=sends, same=st.booleans())
    def repeat(self, sent: Keyed, same: bool) -> None:
        """The same key again, with the same body or another."""
        body = sent.body if same else {**sent.body, "message": "another"}
        headers = {"Idempotency-Key": sent.key}
        answer = sent.session.client.post("/api/messages/send", json=body, headers=headers)
        if sent.session.status == "deleted":
            assert answer.status_code == 401
        elif same:
            assert answer.status_code == sent.answer.status_code
            assert answer.content == sent.answer.content
            assert answer.headers["Idempotent-Replayed"] == "true"
        else:
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")

    @rule(session=sessions, what=st.sampled_from(["stop", "restart", "logout"]))
    def ask(self, session: Session, what: str) -> None:
        """The operator stops, restarts or logs out."""
        answer = self.ring.admin.post(f"/api/sessions/{session.id}/{what}")
        if session.status == "deleted":
            assert answer.status_code == 404
            return
        assert answer.status_code == 202, answer.text
        match what:
            case "stop":
                session.status = "stopped"
            case "logout":
                session.status = "logged_out"
                for message in session.queued():
                    message.statuses = {"failed"}
            case _:
                session.status = "working"
                for message in session.queued():
                    message.statuses = OUTCOMES[message.to][2]
        self._is_shown(session)

    @rule(session=consumes(sessions))
    def delete(self, session: Session) -> None:
        """The operator deletes it: its token is refused at once."""
        answer = self.ring.admin.delete(f"/api/sessions/{session.id}")
        assert answer.status_code == 202, answer.text
        session.status = "deleted"
        session.messages.clear()
        assert session.client.get("/api/session").status_code == 401

    @rule(session=sessions, data=st.data())
    def cancel_or_resend(self, session: Session, data: st.DataObject) -> None:
        """Somebody cancels a message or sends it again, whether that is possible or not."""
        if not session.messages:
            return
        message = data.draw(st.sampled_from(session.messages))
        what = data.draw(st.sampled_from(["cancel", "resend"]))
        soon(lambda: self._agrees(message), "the message is where the model says")
        answer = self.ring.admin.post(f"/api/messages/{message.id}/{what}")
        if what == "cancel":
            if message.statuses == {"queued"}:
                assert answer.status_code == 200, answer.text
                message.statuses = {"cancelled"}
            else:
                assert (answer.status_code, answer.json()["code"]) == (409, "not_cancellable")
        elif not message.statuses & {"failed", "unknown"}:
            assert (answer.status_code, answer.json()["code"]) == (409, "not_resendable")
        elif session.status == "logged_out":
            assert (answer.status_code, answer.json()["code"]) == (409, "session_logged_out")
        else:
            assert answer.status_code == 202, answer.text
            becomes = {"queued"} if session.status == "stopped" else OUTCOMES[message.to][2]
            session.messages.append(Message(answer.json()["id"], message.to, becomes))

    @precondition(lambda self: not self.host_was_replaced)
    @rule()
    def replace_host(self) -> None:
        """A host goes, another comes: nothing that anybody was told changes. Once: it takes long."""
        self.host_was_replaced = True
        self.ring.replace_host()
        for session in self.all:
            self._is_shown(session)

    def _is_shown(self, session: Session) -> None:
        def shown() -> None:
            answer = self.ring.admin.get(f"/api/sessions/{session.id}")
            if session.status == "deleted":
                assert answer.status_code == 404, answer.text
            else:
                assert answer.json()["status"] == session.status, answer.text

        soon(shown, f"the session is shown as {session.status}")

    def _agrees(self, message: Message) -> None:
        answer = self.ring.admin.get(f"/api/messages/{message.id}")
        assert answer.json().get("status") in message.statuses, (message, answer.text)

    def teardown(self) -> None:
        """In the end all sessions and messages are where the model says."""
        for session in self.all:
            self._is_shown(session)
            for message in session.messages:
                soon(lambda m=message: self._agrees(m), "model and ring agree")  # type: ignore[misc]


@pytest.fixture
async def store(new_migrated_database: NewDatabase) -> Databases:
    """A database of this module's own."""
    return await new_migrated_database()


@pytest.fixture
async def inner_broker(new_broker: NewBroker) -> str:
    """A vhost of this module's own."""
    return await new_broker()


@pytest.fixture
def inner_ring(store: Databases, inner_broker: str, tmp_path: Path) -> Iterator[RingInProcess]:
    """The ring."""
    with RingInProcess(store, inner_broker, tmp_path) as ring:
        yield ring


@pytest.mark.filterwarnings(
    # The ring's thread draws its own random delays meanwhile; no strategy does.
    "ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"
)
def test_the_ring_does_what_the_model_does(inner_ring: RingInProcess, store: Databases) -> None:
    run_state_machine_as_test(
        lambda: RingModel(inner_ring),  # type: ignore[arg-type]
        settings=settings(
            max_examples=8,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    sequences, deleted = defaultdict[Any, list[int]](list), set[Any]()
    for row in inner_ring.run(stored_events(store)):
        if row["session_sequence"] is not None:
            sequences[row["session_id"]].append(row["session_sequence"])
        if row["type"] == "session.deleted":
            deleted.add(row["session_id"])  # retention may have removed all else of it
    for session, numbers in sequences.items():
        if session in deleted:
            assert numbers == sorted(set(numbers))
        else:
            assert numbers == list(range(1, len(numbers) + 1))
