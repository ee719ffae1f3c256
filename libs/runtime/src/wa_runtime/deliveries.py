"""Deliveries of queues through aiormq. aio-pika's wrapper doubles their cost."""

from collections.abc import Callable
from dataclasses import dataclass

from aiormq.abc import DeliveredMessage
from opentelemetry.trace import SpanKind

from wa_runtime.channel_writer import ChannelWriter, Properties
from wa_runtime.connection_loss import translate_connection_errors
from wa_runtime.traces import consumer_span


@dataclass(frozen=True, eq=False, slots=True)
class Delivery:
    """A message from a queue, with the channel that acknowledges it."""

    body: bytes
    properties: Properties
    tag: int
    writer: ChannelWriter

    @property
    def type(self) -> str | None:
        return self.properties.message_type

    @property
    def traceparent(self) -> str | None:
        """The trace in which the message was published."""
        found = (self.properties.headers or {}).get("traceparent")
        return found if isinstance(found, str) else None

    def ack(self, *, multiple: bool = False) -> None:
        """Acknowledge this delivery, or all up to it.

        Raises:
            BrokerConnectionLost: the broker redelivers.
        """
        self.writer.ack(self.tag, multiple=multiple)

    def reject(self, *, requeue: bool) -> None:
        """Requeue this delivery, or dead-letter it.

        Raises:
            BrokerConnectionLost: the broker redelivers.
        """
        self.writer.reject(self.tag, requeue=requeue)


async def consume(
    writer: ChannelWriter, queue: str, handle: Callable[[Delivery], None], *, no_ack: bool = False
) -> str:
    """Call `handle` with each message of a queue, in order and in its trace.

    Returns the consumer tag.

    Raises:
        BrokerConnectionLost: nothing will be delivered.
    """

    async def on_message(message: DeliveredMessage) -> None:
        method = message.delivery
        delivery = Delivery(
            message.body, message.header.properties, method.delivery_tag or 0, writer
        )
        name = f"{method.exchange or method.routing_key} receive"
        with consumer_span(delivery.traceparent, name, SpanKind.CONSUMER):
            handle(delivery)

    async with translate_connection_errors():
        consuming = await writer.underlay.basic_consume(queue, on_message, no_ack=no_ack)
    return str(consuming.consumer_tag)


async def cancel(writer: ChannelWriter, consumer_tag: str) -> None:
    """Cancel a consumer.

    Raises:
        BrokerConnectionLost: the consumer ended with the connection.
    """
    async with translate_connection_errors():
        await writer.underlay.basic_cancel(consumer_tag)
