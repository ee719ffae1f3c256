"""Scheduled messages: durable, once, never early, in the order of their times."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

from tests.unit.host.interleaving.installation import (
    HEALING_SECONDS,
    LEASE_SECONDS,
    TAKEOVER_SECONDS,
    VirtualInstallation,
    installation,
)
from tests.unit.host.interleaving.virtual_time import run
from wa_contracts.ids import MessageId
from wa_contracts.internal.commands import (
    DeleteSession,
    LogOutSession,
    MessageType,
    SendMessage,
)
from wa_contracts.message_events import MessageFailed, MessageScheduled

PAUSE_SECONDS = 1.0
TO = "919876543210"


def schedule(
    made: VirtualInstallation, number: int, seconds: float, *, life: float = 3600
) -> MessageId:
    """Ask for a message in so many seconds; it is worth sending for `life` seconds more."""
    id_ = MessageId(UUID(int=1000 + number))
    made.sent.append((made.sessions[0], id_))
    made.texts[id_] = f"scheduled {number}"
    made.command(
        SendMessage,
        made.sessions[0],
        message_id=id_,
        to=TO,
        message_type=MessageType.TEXT,
        text=made.texts[id_],
        fingerprint=made.texts[id_],
        send_at=made.database.now() + timedelta(seconds=seconds),
        reply_on="queued",
        life=timedelta(seconds=seconds + life),
    )
    return id_


def types(made: VirtualInstallation, message_id: MessageId) -> list[str]:
    """The events of a message."""
    stream = f"message-{message_id}"
    return [row.type for row in made.database.events if row.stream == stream]


def late_by(made: VirtualInstallation, message_id: MessageId) -> float:
    """Seconds from a message's time to its place in the queue."""
    rows = [row for row in made.database.events if row.stream == f"message-{message_id}"]
    due = next(event.send_at for row in rows if isinstance(event := row.event, MessageScheduled))
    return next(
        (row.occurred_at - due).total_seconds() for row in rows if row.type == "message.queued"
    )


def on_one_session(test: Callable[[VirtualInstallation], Awaitable[None]], **how: int) -> None:
    """Run the test on an installation with one working session."""

    async def main() -> None:
        async with installation(sessions=1, partitions=1, **how) as made:
            await test(made)

    run(main())


def test_a_message_goes_out_at_its_time_and_the_others_pass() -> None:
    async def test(made: VirtualInstallation) -> None:
        later, sooner = schedule(made, 1, 60), schedule(made, 2, 30)
        await asyncio.sleep(PAUSE_SECONDS)
        assert types(made, later) == types(made, sooner) == ["message.scheduled"]
        made.send(made.sessions[0])
        await asyncio.sleep(PAUSE_SECONDS)
        assert made.whatsapp.received.total() == 1
        await asyncio.sleep(70)
        for one in (later, sooner):
            assert types(made, one)[-1] == "message.sent"
            assert 0 <= late_by(made, one) < 1
        order = [row.stream for row in made.database.events if row.type == "message.sent"]
        assert order[1:] == [f"message-{sooner}", f"message-{later}"]

    on_one_session(test)


def test_many_at_the_same_time_keep_the_order_of_acceptance() -> None:
    async def test(made: VirtualInstallation) -> None:
        ids = [schedule(made, number, 30 - number * 0.001) for number in range(30, 0, -1)]
        await asyncio.sleep(40)
        order = [row.stream for row in made.database.events if row.type == "message.sent"]
        assert order == [f"message-{one}" for one in ids]

    on_one_session(test)


def test_a_killed_host_loses_and_doubles_none() -> None:
    async def test(made: VirtualInstallation) -> None:
        ids = [schedule(made, number, 5 + number) for number in range(60)]
        await asyncio.sleep(PAUSE_SECONDS)
        for _ in range(2):
            await asyncio.sleep(10)
            made.kill_host(made.hosts[0], with_engines=True)
            made.start_host()
        await asyncio.sleep(TAKEOVER_SECONDS + HEALING_SECONDS + 100)
        for one in ids:
            assert types(made, one)[-1] in {"message.sent", "message.unknown"}
            assert types(made, one).count("message.queued") == 1
            assert 0 <= late_by(made, one) < LEASE_SECONDS + 10
            assert made.whatsapp.received[made.texts[one]] <= 1

    on_one_session(test)


def test_a_scheduled_message_is_cancelled_for_certain() -> None:
    async def test(made: VirtualInstallation) -> None:
        message_id = schedule(made, 1, 30)
        await asyncio.sleep(PAUSE_SECONDS)
        made.cancel(made.sessions[0], message_id)
        await asyncio.sleep(60)
        assert types(made, message_id) == ["message.scheduled", "message.cancelled"]
        assert made.whatsapp.received.total() == 0

    on_one_session(test)


def test_the_schedule_fails_with_its_session() -> None:
    async def failed(made: VirtualInstallation, kind: type[LogOutSession | DeleteSession]) -> str:
        message_id = schedule(made, 1, 3600)
        await asyncio.sleep(PAUSE_SECONDS)
        made.command(kind, made.sessions[0])
        await asyncio.sleep(30)
        stream = f"message-{message_id}"
        last = [row.event for row in made.database.events if row.stream == stream][-1]
        assert isinstance(last, MessageFailed)
        return last.error.code

    async def logged_out(made: VirtualInstallation) -> None:
        assert await failed(made, LogOutSession) == "session_logged_out"

    async def deleted(made: VirtualInstallation) -> None:
        assert await failed(made, DeleteSession) == "session_deleted"

    on_one_session(logged_out)
    on_one_session(deleted)


def test_its_life_begins_at_its_time() -> None:
    async def test(made: VirtualInstallation) -> None:
        message_id = schedule(made, 1, 30, life=5)
        made.kill_host(made.hosts[0], with_engines=True)
        await asyncio.sleep(60)
        made.start_host()
        await asyncio.sleep(TAKEOVER_SECONDS)
        assert types(made, message_id)[-1] == "message.failed"
        assert made.whatsapp.received.total() == 0

    on_one_session(test)


def test_the_schedule_of_a_session_is_bounded() -> None:
    async def test(made: VirtualInstallation) -> None:
        ids = [schedule(made, number, 60) for number in range(3)]
        await asyncio.sleep(PAUSE_SECONDS)
        assert [types(made, one) for one in ids] == [
            ["message.scheduled"],
            ["message.scheduled"],
            ["message.failed"],
        ]

    on_one_session(test, queue_limit=2)


def test_a_repeat_is_the_same_message() -> None:
    async def test(made: VirtualInstallation) -> None:
        first = schedule(made, 1, 30)
        await asyncio.sleep(PAUSE_SECONDS)
        schedule(made, 1, 30)
        await asyncio.sleep(60)
        assert types(made, first).count("message.scheduled") == 1
        assert made.whatsapp.received[made.texts[first]] == 1
        assert made.broker.replies[-1].message is not None

    on_one_session(test)
