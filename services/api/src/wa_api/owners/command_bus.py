"""Publishes commands with a known result: confirmed, not written, or in doubt."""

import asyncio

import structlog
from aio_pika.exceptions import DeliveryError, PublishError

from wa_contracts.codec import encode
from wa_contracts.internal.commands import Command
from wa_contracts.internal.routing import routing_key
from wa_contracts.topology import COMMANDS
from wa_runtime.broker import BrokerLink
from wa_runtime.channel_writer import Properties, durable
from wa_runtime.connection_loss import BrokerConnectionLost

log = structlog.get_logger()

REFUSED_PAUSE_SECONDS = 0.2
REFUSED_ATTEMPTS = 10


class BrokerUnavailable(Exception):
    """The broker is away or blocked. Nothing was written. Try again later."""


class ConfirmLost(Exception):
    """The command was written but never confirmed. The broker may or may not have it."""


class CommandBus:
    """Publishes commands to the owner of their session or partition."""

    def __init__(self, link: BrokerLink) -> None:
        self._link = link

    @property
    def is_available(self) -> bool:
        """True if a publish would be written now."""
        return self._link.writer is not None

    @property
    def is_connected(self) -> bool:
        """True if there is a connection, even one blocked by the broker."""
        return self._link.is_connected

    async def publish(self, command: Command, *, deadline: float) -> int:
        """Publish until confirmed or until `deadline` (loop time). Each try has the same id.

        Returns the number of writes. With more than one, the owner may see a duplicate.

        Raises:
            BrokerUnavailable: Nothing was written, or the broker refused the command.
            ConfirmLost: Written, but unconfirmed at the deadline.
        """
        written, refused = 0, 0
        body, properties = encode(command), _properties(command)
        key = routing_key(command)
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    writer = self._link.writer
                    if writer is None:
                        if not written:
                            raise BrokerUnavailable
                        writer = await self._link.wait_writable()
                    written += 1
                    try:
                        await writer.publish(body, properties, exchange=COMMANDS, key=key)
                    except DeliveryError as error:
                        written -= 1
                        refused += 1
                        if isinstance(error, PublishError):
                            self._link.reconnect(writer)  # unroutable: declare the topology again
                        await self._after_refusal(error, refused, written)
                    except BrokerConnectionLost as error:
                        self._link.reconnect(writer)
                        log.warning("confirm_lost", command_id=str(command.id), reason=str(error))
                    else:
                        return written
        except TimeoutError as error:
            if written:
                raise ConfirmLost from error
            raise BrokerUnavailable from error

    async def _after_refusal(self, error: DeliveryError, refused: int, written: int) -> None:
        """Wait before the next try: a nack or an unroutable command may be temporary."""
        log.warning("command_not_taken", attempt=refused, reason=type(error).__name__)
        if refused >= REFUSED_ATTEMPTS:
            raise ConfirmLost if written else BrokerUnavailable
        await asyncio.sleep(REFUSED_PAUSE_SECONDS)
        await self._link.wait_writable()


def _properties(command: Command) -> Properties:
    return durable(
        getattr(command, "type", type(command).__name__),
        message_id=str(command.id),
        correlation_id=str(command.correlation_id),
    )
