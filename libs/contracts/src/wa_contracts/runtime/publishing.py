"""Publishing one message, confirmed."""

from aio_pika import Message
from aio_pika.abc import AbstractChannel
from opentelemetry import propagate
from opentelemetry.trace import SpanKind

from wa_contracts.runtime.broker import losses
from wa_contracts.runtime.traces import step

DEFAULT_EXCHANGE = ""
"""Its routing keys are the names of queues."""


async def publish(
    channel: AbstractChannel, message: Message, *, exchange: str, key: str, mandatory: bool = True
) -> None:
    """Publish a message; the broker has confirmed it when this returns.

    What is published in the same moment goes out in one piece: aio-pika's own `publish` lets each
    message of a channel wait until the one before it is written, which costs every one of them, and
    the broker too, a turn of its own. How many are under way is for the callers to limit.

    Raises:
        ConnectionLost: nobody knows whether the broker has it.
        aio_pika.exceptions.PublishError: there is no queue for it.
        aio_pika.exceptions.DeliveryError: the broker did not take it.
    """
    async with losses():
        underlay = await channel.get_underlay_channel()
        with step(f"{exchange},{key} send", kind=SpanKind.PRODUCER):
            propagate.inject(message.headers)
            await underlay.basic_publish(
                message.body,
                exchange=exchange,
                routing_key=key,
                properties=message.properties,
                mandatory=mandatory,
                wait=False,
            )
