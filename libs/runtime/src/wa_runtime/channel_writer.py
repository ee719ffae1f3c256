"""Writes to one RabbitMQ channel: confirmed publishes and acknowledgements."""

import asyncio
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import uuid4

import aiormq
from aio_pika.abc import AbstractChannel
from aiormq.abc import ChannelFrame
from opentelemetry import propagate
from opentelemetry.trace import SpanKind
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from wa_runtime.connection_loss import BrokerConnectionLost
from wa_runtime.traces import future_span, is_traced

DEFAULT_EXCHANGE = ""
"""Routing keys are queue names."""

Properties: TypeAlias = Basic.Properties
Confirm: TypeAlias = "asyncio.Future[Any]"


def durable(kind: str, **others: Any) -> Properties:
    """Properties of a persistent JSON message of type `kind`."""
    return Properties(message_type=kind, content_type="application/json", delivery_mode=2, **others)


@lru_cache(maxsize=4096)
def _publish_frame(channel: int, exchange: str, key: str, mandatory: bool) -> bytes:
    """The publish method's frame. Most messages repeat an earlier exchange and key."""
    return frame.marshal(Basic.Publish(0, exchange, key, mandatory), channel)


class ChannelWriter:
    """Writes to one channel through aiormq until its connection ends.

    All writes of one event loop turn leave in one system call, and none waits for an earlier one.
    aio-pika's `publish` and `ack` cost a loop turn and a system call per message. Callers limit
    the messages in flight.
    """

    def __init__(self, channel: AbstractChannel, underlay: aiormq.Channel) -> None:
        """`channel` serves everything but writing. `underlay` is its aiormq channel."""
        self.channel = channel
        self.underlay = underlay
        self._pieces: list[bytes] = []
        self._open: set[Confirm] = set()
        self._ended = False

    def publish(
        self,
        body: bytes,
        properties: Properties,
        *,
        exchange: str,
        key: str,
        mandatory: bool = True,
    ) -> Confirm:
        """Publish a message. The future completes with the broker's confirm.

        The future raises BrokerConnectionLost if the outcome is unknown,
        aio_pika.exceptions.PublishError if a `mandatory` message reached no queue,
        aio_pika.exceptions.DeliveryError if the broker rejected the message.
        """
        method = _publish_frame(self.underlay.number, exchange, key, mandatory)
        if not is_traced():
            return self._publish(body, properties, method)

        def publish() -> Confirm:
            properties.headers = dict(properties.headers or {})
            propagate.inject(properties.headers)
            return self._publish(body, properties, method)

        return future_span(f"{exchange},{key} send", SpanKind.PRODUCER, publish)

    def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        """Acknowledge one delivery, or all up to it.

        Raises:
            BrokerConnectionLost: the broker redelivers.
        """
        self._answer(Basic.Ack(delivery_tag, multiple))

    def reject(self, delivery_tag: int, *, requeue: bool) -> None:
        """Return one delivery to its queue, or dead-letter it.

        Raises:
            BrokerConnectionLost: the broker redelivers.
        """
        self._answer(Basic.Reject(delivery_tag, requeue))

    async def wait_written(self) -> None:
        """Wait until the operating system has all writes so far, or the connection has ended."""
        self._flush()
        if self._ended:
            return
        drained: Confirm = asyncio.get_running_loop().create_future()
        self._open.add(drained)
        drained.add_done_callback(self._open.discard)
        self.underlay.write_queue.put_nowait(
            ChannelFrame(b"", should_close=False, drain_future=drained)
        )
        await asyncio.wait([drained])

    def end(self) -> None:
        """Fail all pending confirms: the connection has ended."""
        self._ended = True
        for confirm in list(self._open):
            if not confirm.done():
                confirm.set_exception(BrokerConnectionLost("channel closed"))

    def _publish(self, body: bytes, properties: Properties, method: bytes) -> Confirm:
        confirm: Confirm = asyncio.get_running_loop().create_future()
        if self._ended:
            confirm.set_exception(BrokerConnectionLost("channel closed"))
            return confirm
        underlay = self.underlay
        number, most = underlay.number, underlay.max_content_size
        pieces = [method]
        message_id = properties.message_id
        if message_id is None:
            message_id = properties.message_id = (
                uuid4().hex
            )  # aiormq finds a returned message by its id
        pieces.append(frame.marshal(ContentHeader(0, len(body), properties), number))
        pieces += (
            frame.marshal(ContentBody(body[at : at + most]), number)
            for at in range(0, len(body), most)
        )
        underlay.delivery_tag += 1
        tag = underlay.delivery_tag
        underlay.confirmations[tag] = confirm
        underlay.message_id_delivery_tag[message_id] = tag
        self._open.add(confirm)

        def ended(_: Confirm) -> None:
            self._open.discard(confirm)
            if underlay.message_id_delivery_tag.get(message_id) == tag:
                del underlay.message_id_delivery_tag[message_id]
            if not confirm.cancelled():
                confirm.exception()  # the waiter may be gone

        confirm.add_done_callback(ended)
        self._write(b"".join(pieces))
        return confirm

    def _answer(self, method: Basic.Ack | Basic.Reject) -> None:
        if self._ended:
            raise BrokerConnectionLost("channel closed")
        self._write(frame.marshal(method, self.underlay.number))

    def _write(self, piece: bytes) -> None:
        if not self._pieces:
            asyncio.get_running_loop().call_soon(self._flush)
        self._pieces.append(piece)

    def _flush(self) -> None:
        payload = b"".join(self._pieces)
        self._pieces.clear()
        if payload and not self._ended:
            self.underlay.write_queue.put_nowait(ChannelFrame(payload, should_close=False))
