"""What queues deliver, over aiormq: aio-pika's own wrapping costs as much again."""

from collections.abc import Callable
from dataclasses import dataclass

from aiormq.abc import DeliveredMessage
from opentelemetry.trace import SpanKind

from wa_runtime.channel_writer import ChannelWriter, Properties
from wa_runtime.connection_loss import translate_connection_errors
from wa_runtime.traces import consumer_span


@dataclass(frozen=True, eq=False, slots=True)
class Delivery:
    """A message from a queue, and the channel on which it is acknowledged, where that is asked."""

    body: bytes
    properties: Properties
    tag: int
    writer: ChannelWriter

    @property
    def type(self) -> str | None:
        """What it says that it is."""
        return self.properties.message_type

    @property
    def traceparent(self) -> str | None:
        """The trace that it was sent in, if there is one."""
        found = (self.properties.headers or {}).get("traceparent")
        return found if isinstance(found, str) else None

    def ack(self, *, multiple: bool = False) -> None:
        """The queue may forget it, or all up to it.

        Raises:
            ConnectionLost: it comes again.
        """
        self.writer.ack(self.tag, multiple=multiple)

    def reject(self, *, requeue: bool) -> None:
        """The queue may give it to another, or put it with the dead letters.

        Raises:
            ConnectionLost: it comes again.
        """
        self.writer.reject(self.tag, requeue=requeue)


async def consume(
    writer: ChannelWriter, queue: str, take: Callable[[Delivery], None], *, no_ack: bool = False
) -> str:
    """Have `take` called with each message of a queue, in its order and its trace; the consumer's tag.

    Raises:
        ConnectionLost: nothing will be delivered.
    """

    async def on_message(message: DeliveredMessage) -> None:
        method = message.delivery
        delivery = Delivery(
            message.body, message.header.properties, method.delivery_tag or 0, writer
        )
        name = f"{method.exchange or method.routing_key} receive"
        with consumer_span(delivery.traceparent, name, SpanKind.CONSUMER):
            take(delivery)

    async with translate_connection_errors():
        consuming = await writer.underlay.basic_consume(queue, on_message, no_ack=no_ack)
    return str(consuming.consumer_tag)


async def cancel(writer: ChannelWriter, consumer_tag: str) -> None:
    """Have no more delivered.

    Raises:
        ConnectionLost: nothing is delivered any more anyway.
    """
    async with translate_connection_errors():
        await writer.underlay.basic_cancel(consumer_tag)
