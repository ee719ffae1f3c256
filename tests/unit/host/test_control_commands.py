"""Control commands wait behind no send, once each, and never before their session's creation."""

import asyncio
from collections.abc import Coroutine, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.unit.host.interleaving.installation import VirtualInstallation, installation
from tests.unit.host.interleaving.virtual_time import run
from wa_contracts.codec import encode
from wa_contracts.ids import CommandId, MessageId, SessionId
from wa_contracts.internal.commands import (
    AnyCommand,
    AskWhatsApp,
    CancelMessage,
    CreateSession,
    DeleteSession,
    FailMessage,
    FetchMedia,
    LogOutSession,
    MessageType,
    ReplayPartition,
    ReplaySession,
    RequestPairingCode,
    ResendMessage,
    RestartSession,
    SendMessage,
    StopSession,
    UpdateSession,
)
from wa_contracts.internal.routing import routing_key
from wa_contracts.topology import COMMANDS, QUEUES, command_key, control_key, partition_of
from wa_session_host.domain import session as session_domain

FEW = 200
"""Sends that are handled at the same time as a stop: a prefetch, and the batches under way."""


async def until(condition: Any, installation: VirtualInstallation) -> None:
    """Wait in virtual time."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError([row.type for row in installation.database.events])


def new_session(installation: VirtualInstallation) -> SessionId:
    """An id in the partition of the first session."""
    partition = partition_of(installation.sessions[0])
    ids = (SessionId(UUID(int=number)) for number in range(1_000_000, 2_000_000))
    return next(one for one in ids if partition_of(one) == partition)


def types_of(installation: VirtualInstallation, session: SessionId) -> list[str]:
    """The events of a session, and of its messages, in order."""
    return [row.type for row in installation.database.events if row.session_id == session]


def command(
    installation: VirtualInstallation, kind: Any, session: SessionId, **fields: Any
) -> AnyCommand:
    id_, now = CommandId(uuid4()), installation.database.now()
    life = now + timedelta(hours=1)
    made: AnyCommand = kind(
        id=id_, correlation_id=id_, session_id=session, issued_at=now, expires_at=life, **fields
    )
    return made


def send_of(installation: VirtualInstallation, session: SessionId) -> AnyCommand:
    return command(
        installation,
        SendMessage,
        session,
        message_id=MessageId(uuid4()),
        to="919876543210",
        message_type=MessageType.TEXT,
        text="hello",
        fingerprint="f",
    )


def in_virtual_time(scenario: Coroutine[Any, Any, None]) -> None:
    run(scenario)


def test_a_thousand_sends_to_an_engine_that_does_not_answer_do_not_delay_a_stop() -> None:
    async def scenario() -> None:
        async with installation(sessions=2, partitions=1, queue_limit=2000) as made:
            busy, other = made.sessions
            made.whatsapp.fates += ["slow ack"] * 1000
            for _ in range(1000):
                made.send(busy)
            made.command(StopSession, other)
            made.command(StopSession, busy)
            await until(lambda: types_of(made, busy).count("session.stopped"), made)
            stored = types_of(made, busy)
            assert stored[: stored.index("session.stopped")].count("message.queued") < FEW
            assert types_of(made, other)[-1] == "session.stopped"
            await until(lambda: types_of(made, busy).count("message.queued") == 1000, made)

    in_virtual_time(scenario())


def test_a_relay_that_is_full_does_not_delay_a_stop() -> None:
    """A consumer's full queue refuses events: sends wait in the broker."""

    async def scenario() -> None:
        async with installation(sessions=1, partitions=1) as made:
            [session] = made.sessions
            made.broker.confirms = False
            for _ in range(1000):
                made.send(session)
            await asyncio.sleep(30)
            assert types_of(made, session).count("message.queued") < 1000
            made.command(StopSession, session)
            await until(lambda: types_of(made, session).count("session.stopped"), made)
            made.broker.confirms = True
            made.broker.cut_connections(stay_down=False)
            await until(lambda: types_of(made, session).count("message.queued") == 1000, made)

    in_virtual_time(scenario())


@pytest.mark.parametrize("key", [None, command_key], ids=["both queues", "an api of before"])
def test_a_session_is_created_before_its_sends_and_before_its_stop(key: Any) -> None:
    async def scenario() -> None:
        async with installation(sessions=1, partitions=1) as made:
            session = new_session(made)
            made.hosts[0].links[1].drop()  # everything comes at once
            creation, stop = (command(made, kind, session) for kind in (CreateSession, StopSession))
            partition = partition_of(session)
            made.broker.put(key(partition) if key else routing_key(creation), encode(creation))
            made.broker.put(key(partition) if key else routing_key(stop), encode(stop))
            sends = [send_of(made, session) for _ in range(5)]
            for one in sends:
                made.broker.put(routing_key(one), encode(one))
            await until(lambda: types_of(made, session).count("message.queued") == 5, made)
            await until(lambda: types_of(made, session).count("session.stopped"), made)
            queued = [row.causation_id for row in made.database.events if row.session_id == session]
            assert [id_ for id_ in queued if id_ in _ids(sends)] == _ids(sends)
            assert types_of(made, session).count("session.created") == 1
            assert not [reply for reply in made.broker.replies if reply.error]

    in_virtual_time(scenario())


def _ids(commands: Iterable[AnyCommand]) -> list[CommandId]:
    return [one.id for one in commands]


def test_a_creation_that_comes_only_with_its_sends_is_enough() -> None:
    """The control queue is consumed late, or its copy was handled by a former owner."""

    async def scenario() -> None:
        async with installation(sessions=1, partitions=1) as made:
            session = new_session(made)
            creation, send = command(made, CreateSession, session), send_of(made, session)
            for one in (creation, send):
                made.broker.put(command_key(partition_of(session)), encode(one))
            await until(lambda: types_of(made, session).count("message.queued"), made)
            made.broker.put(control_key(partition_of(session)), encode(creation))
            await asyncio.sleep(5)
            assert types_of(made, session).count("session.created") == 1

    in_virtual_time(scenario())


@pytest.mark.parametrize("owner", ["same", "next"])
def test_a_repeated_restart_is_carried_out_once(owner: str) -> None:
    async def scenario() -> None:
        async with installation(sessions=1, partitions=1) as made:
            [session] = made.sessions
            restart = command(made, RestartSession, session)
            for _ in range(2):
                made.broker.put(routing_key(restart), encode(restart))
            await asyncio.sleep(20)
            assert types_of(made, session).count("session.starting") == 2  # creation, restart
            made.command(StopSession, session)
            await until(lambda: isinstance_stopped(made, session), made)
            if owner == "next":
                made.kill_host(made.hosts[0], with_engines=True)
                made.start_host()
                await asyncio.sleep(20)
            made.broker.put(routing_key(restart), encode(restart))
            await asyncio.sleep(20)
            assert isinstance_stopped(made, session)

    in_virtual_time(scenario())


def test_a_repeated_stop_without_an_effect_does_not_undo_a_restart() -> None:
    async def scenario() -> None:
        async with installation(sessions=1, partitions=1) as made:
            [session] = made.sessions
            made.command(StopSession, session)
            again, restart = (
                command(made, kind, session) for kind in (StopSession, RestartSession)
            )
            for one in (again, restart, again, restart):
                made.broker.put(routing_key(one), encode(one))
            await asyncio.sleep(20)
            assert not isinstance_stopped(made, session)
            assert types_of(made, session).count("session.stopped") == 1

    in_virtual_time(scenario())


def isinstance_stopped(installation: VirtualInstallation, session: SessionId) -> bool:
    """Whether its stored state is Stopped."""
    state = installation.state(session)
    return isinstance(state, session_domain.Opened) and isinstance(
        state.condition, session_domain.Stopped
    )


IN_ORDER_OF_SENDS = {SendMessage, FailMessage, ReplaySession, ReplayPartition}
CONTROL = {
    UpdateSession,
    RestartSession,
    StopSession,
    LogOutSession,
    DeleteSession,
    CancelMessage,
    ResendMessage,
    RequestPairingCode,
    FetchMedia,
    AskWhatsApp,
}


@pytest.mark.parametrize(
    "kind",
    sorted([*IN_ORDER_OF_SENDS, *CONTROL, CreateSession], key=str),
    ids=lambda kind: kind.__name__,
)
def test_the_queues_of_a_command(kind: Any) -> None:
    session = SessionId(UUID(int=7))
    number = 5 if kind is ReplayPartition else partition_of(session)
    key = routing_key(kind.model_construct(session_id=session, partition=number))
    found = {queue.name for queue in QUEUES if (COMMANDS, key) in queue.bindings}
    expected = set()
    if kind not in CONTROL:
        expected.add(f"wa.commands.p{number}")
    if kind in CONTROL or kind is CreateSession:
        expected.add(f"wa.commands.control.p{number}")
    assert found == expected


def test_every_command_has_its_place() -> None:
    known: set[Any] = {*IN_ORDER_OF_SENDS, *CONTROL, CreateSession}
    assert set(AnyCommand.__args__[0].__args__) == known
