"""Moves dead letters from their queue into the table, and fails dead sends."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import structlog
from aio_pika.abc import AbstractIncomingMessage

from wa_api.database.pool import DatabaseUnavailable
from wa_api.dead_letters.letters import DeadLetters, read
from wa_api.owners.command_bus import BrokerUnavailable, CommandBus, ConfirmLost
from wa_api.projecting.metrics import ProjectorMetrics
from wa_contracts.codec import Undecodable, decode_command
from wa_contracts.ids import CommandId, new_id
from wa_contracts.internal.commands import FailMessage, SendMessage
from wa_contracts.topology import DEAD_LETTERS
from wa_runtime.channel_writer import ChannelWriter
from wa_runtime.connection_loss import BrokerConnectionLost, translate_connection_errors
from wa_runtime.retries import until_available

log = structlog.get_logger()

PREFETCH = 10
"""Dead letters in memory, of 1 MiB at most."""
_UNAVAILABLE = (DatabaseUnavailable, BrokerUnavailable, ConfirmLost)
PUBLISH_SECONDS = 10.0
FAIL_WITHIN = timedelta(hours=24)


class DeadLetterCollector:
    def __init__(
        self, dead_letters: DeadLetters, bus: CommandBus, metrics: ProjectorMetrics
    ) -> None:
        """`bus` publishes the failure of a dead send."""
        self._dead_letters = dead_letters
        self._bus = bus
        self._metrics = metrics
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def open(self, writer: ChannelWriter) -> None:
        """Consume on a new channel. A wave of dead letters waits in the broker, not in memory."""
        await writer.channel.set_qos(prefetch_count=PREFETCH)
        queue = await writer.channel.get_queue(DEAD_LETTERS)
        await queue.consume(self._arrived.put)

    async def run(self) -> NoReturn:
        while True:
            message = await self._arrived.get()
            await self._until_collected(message)
            try:
                async with translate_connection_errors():
                    await message.ack()
            except BrokerConnectionLost as error:
                log.info("ack_lost", reason=str(error), note="the dead letter is kept twice")

    async def _until_collected(self, message: AbstractIncomingMessage) -> None:
        dead_letter = read(message)

        async def collect() -> None:
            await self._fail_send(message.body)
            await self._dead_letters.keep(dead_letter)

        await until_available("dead_letter", collect, on=_UNAVAILABLE, event="dead_letter_waits")
        self._metrics.dead_letters.inc()
        log.error(
            "dead_letter_kept",
            queue=dead_letter.queue,
            reason=dead_letter.reason,
            cause=dead_letter.cause,
        )

    async def _fail_send(self, body: bytes) -> None:
        """Fail a dead send, so that it does not stay open for ever."""
        try:
            command = decode_command(body)
        except Undecodable:
            return
        if not isinstance(command, SendMessage):
            return
        now = datetime.now(UTC)
        failing = FailMessage(
            id=CommandId(new_id()),
            session_id=command.session_id,
            correlation_id=command.correlation_id,
            issued_at=now,
            expires_at=now + FAIL_WITHIN,
            reply_to=command.reply_to,
            message_id=command.message_id,
            to=command.to,
            message_type=command.message_type,
            reference=command.reference,
        )
        deadline = asyncio.get_running_loop().time() + PUBLISH_SECONDS
        await self._bus.publish(failing, deadline=deadline)
