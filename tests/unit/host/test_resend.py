"""A resend passes the limits of a send, and a repeat of it makes no second message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from tests.unit.host.interleaving.installation import VirtualInstallation, installation
from tests.unit.host.interleaving.virtual_time import run
from wa_contracts.ids import MessageId
from wa_contracts.internal.commands import ResendMessage, StopSession

NEW = MessageId(UUID(int=9))
PAUSE_SECONDS = 1.0
"""Of the virtual clock: longer than a command and a send."""


@asynccontextmanager
async def two_failed(
    queue_limit: int = 1000,
) -> AsyncIterator[tuple[VirtualInstallation, list[MessageId]]]:
    """Two messages of a working session that WhatsApp refused."""
    async with installation(sessions=1, partitions=1, queue_limit=queue_limit) as made:
        for _ in range(2):
            made.whatsapp.fates.append("refused")
            made.send(made.sessions[0])
            await asyncio.sleep(PAUSE_SECONDS)
        assert set(made.outcomes().values()) == {"message.failed"}
        yield made, list(made.texts)


async def resend(
    made: VirtualInstallation, original: MessageId, new: MessageId = NEW
) -> str | None:
    """Resend a message; the code of the refusal, None without one."""
    answered = len(made.broker.replies)
    made.command(ResendMessage, made.sessions[0], message_id=new, resend_of=original)
    await asyncio.sleep(PAUSE_SECONDS)
    errors = [one.error for one in made.broker.replies[answered:]]
    return errors[0].code if errors and errors[0] is not None else None


def sent(made: VirtualInstallation, original: MessageId) -> int:
    """How often WhatsApp got it."""
    return made.whatsapp.received[made.texts[original]]


def test_a_repeat_makes_no_second_message() -> None:
    async def repeated() -> None:
        async with two_failed() as (made, [original, _]):
            assert [await resend(made, original) for _ in range(3)] == [None, None, None]
            assert sent(made, original) == 1
            assert len(made.broker.replies) == 2  # the repeats; the first one is told by its event

    run(repeated())


def test_a_key_that_another_resend_used_is_a_conflict() -> None:
    async def conflicting() -> None:
        async with two_failed() as (made, [original, other]):
            assert await resend(made, original) is None
            assert await resend(made, other) == "idempotency_conflict"
            assert (sent(made, original), sent(made, other)) == (1, 0)

    run(conflicting())


def test_a_full_queue_refuses_a_resend() -> None:
    async def full() -> None:
        async with two_failed(queue_limit=1) as (made, [original, _]):
            made.command(StopSession, made.sessions[0])
            await asyncio.sleep(PAUSE_SECONDS)
            made.send(made.sessions[0])
            await asyncio.sleep(PAUSE_SECONDS)
            assert await resend(made, original) == "queue_full"
            assert not any(str(NEW) in row.stream for row in made.database.events)

    run(full())
