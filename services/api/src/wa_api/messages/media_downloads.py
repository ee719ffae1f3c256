"""Streams incoming media to a client: from the media store, or from the session's owner.

A slow client of the owner leaves the pieces in the broker, a few at most: see `media_transfer`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from wa_api.http.problems import Problem
from wa_api.messages.views import Message
from wa_api.owners.command_bus import BrokerUnavailable
from wa_api.owners.requests import OwnerRequests
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.commands import FetchMedia
from wa_contracts.internal.media_transfer import CHUNKS_UNACKED, OFFSET, QUEUE_ARGUMENTS
from wa_contracts.internal.replies import MediaOffer, Reply
from wa_runtime.broker import BrokerLink
from wa_runtime.channel_writer import ChannelWriter
from wa_runtime.connection_loss import BrokerConnectionLost, translate_connection_errors
from wa_runtime.media_store.kept_media import KeptFile, KeptMedia

log = structlog.get_logger()

BROKER_SECONDS = 5.0
ANSWER_SECONDS = 130.0
"""Time for the owner to fetch the media; slightly more than the engine's own limit."""
PIECE_SECONDS = 30.0


class DownloadBroken(Exception):
    """The rest of the media is lost. Closing the client's connection signals this."""


def _broken(reason: str) -> DownloadBroken:
    log.warning("media_broken_off", reason=reason)
    return DownloadBroken(reason)


@dataclass(frozen=True)
class Download:
    """Media that the owner is sending. Always `close` it."""

    offer: MediaOffer
    pieces: "asyncio.Queue[AbstractIncomingMessage]"
    link: BrokerLink
    writer: ChannelWriter
    resources: AsyncExitStack

    async def content(self) -> AsyncIterator[bytes]:
        """The pieces in order. Fetches the next one when the client has taken the last one.

        Raises:
            DownloadBroken: The owner or the broker went away.
        """
        offset = 0
        while offset < self.offer.size:
            piece = await self._next()
            if piece.headers.get(OFFSET) != offset:
                raise _broken(f"after {offset} of {self.offer.size} bytes another piece came")
            offset += len(piece.body)
            yield piece.body
            try:
                async with translate_connection_errors():
                    await piece.ack()
            except BrokerConnectionLost as error:
                raise _broken(str(error)) from error

    async def _next(self) -> AbstractIncomingMessage:
        """The next piece, unless the connection is lost first."""
        coming = asyncio.ensure_future(self.pieces.get())
        lost = asyncio.ensure_future(self.link.wait_lost(self.writer))
        try:
            await asyncio.wait(
                (coming, lost), timeout=PIECE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not coming.done():
                raise _broken("the broker left" if lost.done() else "the owner sends no more")
            return coming.result()
        finally:
            coming.cancel()
            lost.cancel()

    async def close(self) -> None:
        """Release the queue. An owner that is still sending stops."""
        await self.resources.aclose()


@dataclass(frozen=True)
class KeptDownload:
    """Media from the media store. `close` may be left out."""

    offer: MediaOffer
    first: bytes
    rest: AsyncIterator[bytes]

    async def content(self) -> AsyncIterator[bytes]:
        """The pieces in order. Raises StoreUnavailable."""
        yield self.first
        async for chunk in self.rest:
            yield chunk

    async def close(self) -> None:
        """Nothing is held."""


class MediaDownloads:
    def __init__(self, requests: OwnerRequests, link: BrokerLink, kept: KeptMedia) -> None:
        """`link` is a connection for media only, so that replies are not delayed."""
        self._requests = requests
        self._link = link
        self._kept = kept

    async def known(self, message: Message) -> KeptFile | None:
        """What the media store has of a message's media; None without any.

        Raises:
            StoreUnavailable: nobody knows.
        """
        return await self._kept.find(message.session_id, message.id)

    async def open_kept(self, message: Message, known: KeptFile) -> KeptDownload:
        """The media store's file. Raises NotStored, StoreUnavailable."""
        rest = self._kept.read(message.session_id, message.id)
        offer = MediaOffer(mime_type=known.mime_type, file_name=known.file_name, size=known.size)
        return KeptDownload(offer, await anext(rest, b""), rest)

    async def open(self, message: Message) -> Download:
        """Request the media of an incoming message.

        Raises:
            BrokerUnavailable, ConfirmLost: See `CommandBus.publish`.
            OwnerRefused: With a code, for example `media_gone`.
            OwnerSilent: No answer in time.
        """
        async with AsyncExitStack() as resources:
            writer = await self._open_channel()
            queue, pieces = await self._queue(writer.channel, resources)
            command = self._requests.command(
                FetchMedia,
                SessionId(message.session_id),
                message_id=MessageId(message.id),
                queue=queue.name,
            )
            answer = await self._requests.ask(command, seconds=ANSWER_SECONDS)
            if not isinstance(answer, Reply) or answer.media is None:
                raise Problem("internal", "The session's owner gave no answer that fits.")
            kept = resources.pop_all()
        return Download(answer.media, pieces, self._link, writer, kept)

    async def _open_channel(self) -> ChannelWriter:
        try:
            async with asyncio.timeout(BROKER_SECONDS):
                return await self._link.wait_open()
        except TimeoutError as error:
            raise BrokerUnavailable from error

    async def _queue(
        self, channel: AbstractChannel, resources: AsyncExitStack
    ) -> "tuple[AbstractQueue, asyncio.Queue[AbstractIncomingMessage]]":
        pieces: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        try:
            async with translate_connection_errors():
                queue = await channel.declare_queue(
                    exclusive=True, auto_delete=True, arguments=dict(QUEUE_ARGUMENTS)
                )
                resources.push_async_callback(
                    _cancel_consumer, queue, await queue.consume(pieces.put)
                )
        except BrokerConnectionLost as error:
            raise BrokerUnavailable from error
        return queue, pieces


async def limit_pieces(writer: ChannelWriter) -> None:
    """Set the prefetch of a new channel to the pieces in flight per download."""
    await writer.channel.set_qos(prefetch_count=CHUNKS_UNACKED)


async def _cancel_consumer(queue: AbstractQueue, tag: str) -> None:
    """Cancel the consumer; the queue is auto-deleted. Deleting it first would drop the link."""
    try:
        async with translate_connection_errors():
            await queue.cancel(tag)
    except BrokerConnectionLost as error:
        log.debug("download_queue_gone", reason=str(error))
