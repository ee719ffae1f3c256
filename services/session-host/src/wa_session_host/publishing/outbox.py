"""Confirmed publishing to RabbitMQ. Callers retry."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from aio_pika.exceptions import DeliveryError, PublishError

from wa_contracts.codec import encode, frame_event
from wa_contracts.internal.bundle import BUNDLE, frame_bundle
from wa_contracts.internal.commands import Command
from wa_contracts.internal.heartbeat import Heartbeat
from wa_contracts.internal.media_transfer import OFFSET
from wa_contracts.internal.questions import Answer
from wa_contracts.internal.replay import PARTITION_REPLAYED, PartitionReplayed
from wa_contracts.internal.replies import (
    ErrorDetail,
    MediaOffer,
    MessageSnapshot,
    PairingCode,
    Reply,
)
from wa_contracts.session_events import QRIssued
from wa_contracts.topology import EVENT_LOG, EVENTS, HEARTBEATS, event_key
from wa_runtime.broker import BrokerLink
from wa_runtime.channel_writer import (
    DEFAULT_EXCHANGE,
    ChannelWriter,
    Confirm,
    Properties,
    durable,
)
from wa_runtime.connection_loss import BrokerConnectionLost
from wa_session_host.publishing.bundler import Bundler
from wa_session_host.store.stored_event import StoredEvent

log = structlog.get_logger()

Following = tuple[int, StoredEvent]
"""An event, preceded by the sequence of the session's public event before it."""


class NotConfirmed(Exception):
    """The broker confirmed no message: unavailable, rejected, or the confirm was lost."""


class NoSuchQueue(NotConfirmed):
    """The queue does not exist; a retry does not help."""


@dataclass(frozen=True)
class Publication:
    """An event in flight to all its destinations."""

    confirms: Sequence[Confirm] = ()
    writer: ChannelWriter | None = None

    @property
    def is_done(self) -> bool:
        """Whether every destination's outcome is known."""
        return all(confirm.done() for confirm in self.confirms)


class Outbox:
    """The publishing side of a host."""

    def __init__(self, link: BrokerLink) -> None:
        self._link = link
        self._bundler: Bundler | None = None

    async def wait_writable(self) -> None:
        """Wait until the broker accepts messages."""
        await self._link.wait_writable()

    def publish_event(self, stored: StoredEvent) -> Publication:
        """Publish a public event to subscribers, log, projector and waiting request.

        Raises:
            NotConfirmed: the broker is unavailable.
        """
        writer = self._current_writer()
        if self._bundler is None or self._bundler.writer is not writer:
            self._bundler = Bundler(writer)
        body = _framed(stored, stored.data_json)
        assert stored.session_sequence is not None
        is_code = stored.type == QRIssued.TYPE
        confirms = [
            self._bundler.add(stored.session_sequence - 1, body, stored.traceparent),
            writer.publish(
                body,
                _event_properties(stored, stored.reply_to),
                exchange=EVENTS,
                key=event_key(stored.session_id, stored.type),
                mandatory=not is_code,  # the log gets none of these, and possibly nobody does
            ),
        ]
        if is_code:
            confirms.append(self._log_without_code(writer, stored))
        return Publication(confirms, writer)

    def raise_if_unconfirmed(self, publication: Publication) -> None:
        """Check a finished publication.

        Raises:
            NotConfirmed: publish the event again.
        """
        for confirm in publication.confirms:
            error = confirm.exception()
            if error is not None and publication.writer is not None:
                raise self._not_confirmed(publication.writer, error) from error

    def _log_without_code(self, writer: ChannelWriter, stored: StoredEvent) -> Confirm:
        event = stored.event
        assert isinstance(event, QRIssued)
        public = QRIssued(qr=None, expires_at=event.expires_at).model_dump_json()
        return writer.publish(
            _framed(stored, public),
            _event_properties(stored, None),
            exchange=DEFAULT_EXCHANGE,
            key=EVENT_LOG,
        )

    async def publish_bundle(self, bundle: Sequence[Following], queue: str) -> None:
        """Publish stored events to one queue as one confirmed message.

        Raises:
            NoSuchQueue: the replay was abandoned.
            NotConfirmed: publish again.
        """
        body = frame_bundle((before, _framed(one, one.data_json), None) for before, one in bundle)
        await self._publish_to_queue(queue, body, durable(BUNDLE))

    async def publish_replay_complete(self, complete: PartitionReplayed, queue: str) -> None:
        """Publish the end of a partition's replay to a queue, confirmed.

        Raises:
            NoSuchQueue, NotConfirmed: as `publish_bundle`.
        """
        await self._publish_to_queue(queue, encode(complete), durable(PARTITION_REPLAYED))

    async def publish_media_chunk(self, queue: str, chunk: bytes, offset: int) -> None:
        """Publish a chunk of media to a queue, confirmed.

        Raises:
            NoSuchQueue: the queue is gone.
            NotConfirmed: the queue is full, or the broker is unavailable.
        """
        properties = Properties(message_type="media", headers={OFFSET: offset})
        await self._publish(
            self._current_writer(), chunk, properties, exchange=DEFAULT_EXCHANGE, key=queue
        )

    async def reply(
        self,
        command: Command,
        *,
        error: ErrorDetail | None = None,
        message: MessageSnapshot | None = None,
        pairing_code: PairingCode | None = None,
        media: MediaOffer | None = None,
        answer: Answer | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Reply to a command that expects a reply. The sender of a lost reply reads the row."""
        if command.reply_to is None:
            return
        reply = Reply(
            command_id=command.id,
            error=error,
            message=message,
            pairing_code=pairing_code,
            media=media,
            answer=answer,
            retry_after_seconds=retry_after_seconds,
        )
        try:
            await self._publish_expiring(
                "reply", encode(reply), seconds=60, exchange=EVENTS, key=command.reply_to
            )
        except NotConfirmed as not_sent:
            log.info("reply_not_sent", reason=str(not_sent))

    async def publish_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Publish a heartbeat.

        Raises:
            NotConfirmed: the broker is unavailable.
        """
        await self._publish_expiring(
            "heartbeat", encode(heartbeat), seconds=5, exchange=HEARTBEATS, key=""
        )

    async def _publish_expiring(
        self, kind: str, body: bytes, *, seconds: int, exchange: str, key: str
    ) -> None:
        properties = Properties(
            message_type=kind, content_type="application/json", expiration=str(seconds * 1000)
        )
        await self._publish(
            self._current_writer(), body, properties, exchange=exchange, key=key, mandatory=False
        )

    def _current_writer(self) -> ChannelWriter:
        """The current channel, for messages that must be published now or not at all."""
        writer = self._link.writer
        if writer is None:
            raise NotConfirmed("The broker is away.")
        return writer

    async def _publish_to_queue(self, queue: str, body: bytes, properties: Properties) -> None:
        writer = await self._link.wait_writable()
        await self._publish(writer, body, properties, exchange=DEFAULT_EXCHANGE, key=queue)

    async def _publish(
        self,
        writer: ChannelWriter,
        body: bytes,
        properties: Properties,
        *,
        exchange: str,
        key: str,
        mandatory: bool = True,
    ) -> None:
        try:
            await writer.publish(body, properties, exchange=exchange, key=key, mandatory=mandatory)
        except PublishError as error:
            raise NoSuchQueue(key) from error
        except (BrokerConnectionLost, DeliveryError) as error:
            raise self._not_confirmed(writer, error) from error

    def _not_confirmed(self, writer: ChannelWriter, error: BaseException) -> NotConfirmed:
        """The error to raise. A lost connection or a missing queue causes a reconnect.

        A reconnect declares the topology.
        """
        if isinstance(error, BrokerConnectionLost | PublishError):
            self._link.reconnect(writer)
        return NotConfirmed(str(error) or type(error).__name__)


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


def _event_properties(stored: StoredEvent, reply_to: str | None) -> Properties:
    return durable(
        stored.type,
        message_id=str(stored.id),
        correlation_id=str(stored.correlation_id),
        timestamp=stored.occurred_at,
        headers={"BCC": reply_to.split()} if reply_to else None,
    )
