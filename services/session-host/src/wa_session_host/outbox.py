"""Publishing to RabbitMQ, confirmed; tried again by those who must not lose."""

from collections.abc import Sequence

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel

from wa_contracts.bundle import BUNDLE
from wa_contracts.codec import encode, frame_bundle, frame_event
from wa_contracts.commands import Command
from wa_contracts.heartbeat import Heartbeat
from wa_contracts.media_transfer import OFFSET
from wa_contracts.replay import PARTITION_REPLAYED, PartitionReplayed
from wa_contracts.replies import Reply
from wa_contracts.runtime.broker import BrokerLink, ConnectionLost
from wa_contracts.runtime.publishing import DEFAULT_EXCHANGE, publish
from wa_contracts.session_events import QRIssued
from wa_contracts.topology import EVENT_LOG, EVENTS, HEARTBEATS, event_key
from wa_session_host.stored_event import StoredEvent

log = structlog.get_logger()

Following = tuple[int, StoredEvent]
"""An event, and the sequence of the public event before it in the store."""


class NotConfirmed(Exception):
    """The broker did not confirm a message: it is away, it refused, or the confirm was lost."""


class NoSuchQueue(NotConfirmed):
    """There is no queue of that name: publishing again will not help."""


class Outbox:
    """The publishing side of a host. What must not be lost is published again by its owner."""

    def __init__(self, link: BrokerLink) -> None:
        """`link` is the host's connection for publishing."""
        self._link = link

    async def usable(self) -> None:
        """Wait until the broker takes messages."""
        await self._link.usable()

    async def publish_event(self, stored: StoredEvent) -> None:
        """Publish an event to its subscribers, the log and whoever waits for it; confirmed.

        Raises:
            NotConfirmed: publish it again.
        """
        message = _event_message(stored, _framed(stored, stored.data_json), stored.reply_to)
        key = event_key(stored.session_id, stored.type)
        await self._publish(self._now(), EVENTS, key, message)
        if stored.type == QRIssued.TYPE:
            await self._log_without_code(stored)

    async def _log_without_code(self, stored: StoredEvent) -> None:
        event = stored.event
        assert isinstance(event, QRIssued)
        public = QRIssued(qr=None, expires_at=event.expires_at).model_dump_json()
        message = _event_message(stored, _framed(stored, public), None)
        await self._publish(self._now(), DEFAULT_EXCHANGE, EVENT_LOG, message)

    async def replay(self, bundle: Sequence[Following], queue: str) -> None:
        """Publish stored events to one queue in one message; confirmed.

        Raises:
            NoSuchQueue: nobody wants them any more.
            NotConfirmed: publish them again.
        """
        body = frame_bundle((before, _framed(one, one.data_json), None) for before, one in bundle)
        await self._publish(
            await self._link.usable(), DEFAULT_EXCHANGE, queue, _replay(body, BUNDLE)
        )

    async def say_replayed(self, complete: PartitionReplayed, queue: str) -> None:
        """Say in a queue that a partition's replay is complete; confirmed.

        Raises:
            NoSuchQueue, NotConfirmed: as `replay`.
        """
        message = _replay(encode(complete), PARTITION_REPLAYED)
        await self._publish(await self._link.usable(), DEFAULT_EXCHANGE, queue, message)

    async def publish_piece(self, queue: str, piece: bytes, offset: int) -> None:
        """Put a piece of media into a queue, unless it is full; confirmed.

        Raises:
            NoSuchQueue: the queue is gone.
            NotConfirmed: it is full, or the broker is away.
        """
        message = aio_pika.Message(piece, type="media", headers={OFFSET: offset})
        await self._publish(self._now(), DEFAULT_EXCHANGE, queue, message)

    async def reply(self, key: str, reply: Reply) -> None:
        """Answer a command. If its sender is gone, the answer is dropped.

        Raises:
            NotConfirmed: its sender reads the row instead.
        """
        message = aio_pika.Message(
            encode(reply), type="reply", content_type="application/json", expiration=60
        )
        await self._publish(self._now(), EVENTS, key, message, mandatory=False)

    async def answer(self, command: Command, reply: Reply) -> None:
        """`reply` to a command's sender, if one waits; what is not sent is read from the row."""
        if command.reply_to is None:
            return
        try:
            await self.reply(command.reply_to, reply)
        except NotConfirmed as error:
            log.info("reply_not_sent", reason=str(error))

    async def beat(self, heartbeat: Heartbeat) -> None:
        """Publish a sign of life.

        Raises:
            NotConfirmed: the broker is away.
        """
        message = aio_pika.Message(
            encode(heartbeat), type="heartbeat", content_type="application/json", expiration=5
        )
        await self._publish(self._now(), HEARTBEATS, "", message, mandatory=False)

    def _now(self) -> AbstractChannel:
        """The channel, for what must not be published later than what follows it, or not at all."""
        channel = self._link.usable_channel
        if channel is None:
            raise NotConfirmed("The broker is away.")
        return channel

    async def _publish(
        self,
        channel: AbstractChannel,
        exchange: str,
        key: str,
        message: aio_pika.Message,
        *,
        mandatory: bool = True,
    ) -> None:
        try:
            await publish(channel, message, exchange=exchange, key=key, mandatory=mandatory)
        except ConnectionLost as error:
            self._link.renew(channel)
            raise NotConfirmed(str(error)) from error
        except aio_pika.exceptions.DeliveryError as error:
            if not isinstance(error, aio_pika.exceptions.PublishError):
                raise NotConfirmed(type(error).__name__) from error
            if exchange == EVENTS:
                self._link.renew(channel)  # unroutable: declare the topology anew
                raise NotConfirmed(type(error).__name__) from error
            raise NoSuchQueue(key) from error


def _framed(stored: StoredEvent, data_json: str) -> bytes:
    assert stored.session_sequence is not None
    return frame_event(
        event_id=stored.id,
        event_type=stored.type,
        version=stored.version,
        session_id=stored.session_id,
        session_sequence=stored.session_sequence,
        stream=stored.stream,
        stream_version=stored.stream_version,
        occurred_at=stored.occurred_at,
        correlation_id=stored.correlation_id,
        causation_id=stored.causation_id,
        data_json=data_json,
    )


def _event_message(stored: StoredEvent, body: bytes, reply_to: str | None) -> aio_pika.Message:
    headers: dict[str, Sequence[str]] = {"BCC": reply_to.split()} if reply_to else {}
    return aio_pika.Message(
        body,
        type=stored.type,
        message_id=str(stored.id),
        correlation_id=str(stored.correlation_id),
        timestamp=stored.occurred_at,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        headers=headers,  # type: ignore[arg-type]
    )


def _replay(body: bytes, kind: str) -> aio_pika.Message:
    return aio_pika.Message(
        body,
        type=kind,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
