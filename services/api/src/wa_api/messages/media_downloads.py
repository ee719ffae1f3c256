"""Media that arrived, from the owner of its session to a client: piece by piece, never whole.

Who takes too long holds the pieces back in the broker, a few at most: see `media_transfer`.
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

log = structlog.get_logger()

BROKER_SECONDS = 5.0
ANSWER_SECONDS = 130.0
"""Until the owner has all of it; a little more than its engine may take."""
PIECE_SECONDS = 30.0


class DownloadBroken(Exception):
    """The rest of the media will not come. The client's connection is closed, which tells it."""


def _broken(reason: str) -> DownloadBroken:
    log.warning("media_broken_off", reason=reason)
    return DownloadBroken(reason)


@dataclass(frozen=True)
class Download:
    """Media that the owner has and sends. `close` it, whatever became of it."""

    offer: MediaOffer
    pieces: "asyncio.Queue[AbstractIncomingMessage]"
    link: BrokerLink
    writer: ChannelWriter
    resources: AsyncExitStack

    async def content(self) -> AsyncIterator[bytes]:
        """All of it, in order; the next piece is fetched when the last one was taken.

        Raises:
            DownloadBroken: the owner or the broker went away.
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
        """The next piece, unless the connection ends before it."""
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
        """Give the queue up; an owner that still sends stops."""
        await self.resources.aclose()


class MediaDownloads:
    """Asks owners for media."""

    def __init__(self, requests: OwnerRequests, link: BrokerLink) -> None:
        """`link` is a connection for media alone, so that no reply waits behind them."""
        self._requests = requests
        self._link = link

    async def open(self, message: Message) -> Download:
        """The media of an incoming message, ready to come.

        Raises:
            BrokerUnavailable, ConfirmLost: as for every command.
            OwnerRefused: with a code, for example `media_gone`.
            OwnerSilent: no answer in time.
        """
        async with AsyncExitStack() as resources:
            writer = await self._opened()
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

    async def _opened(self) -> ChannelWriter:
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
                resources.push_async_callback(_give_up, queue, await queue.consume(pieces.put))
        except BrokerConnectionLost as error:
            raise BrokerUnavailable from error
        return queue, pieces


async def limit_pieces(writer: ChannelWriter) -> None:
    """Let each download of a new channel have so many pieces in hand, and no more."""
    await writer.channel.set_qos(prefetch_count=CHUNKS_UNACKED)


async def _give_up(queue: AbstractQueue, tag: str) -> None:
    """Stop consuming; the queue goes then. Deleted under its consumer, the link would seem lost."""
    try:
        async with translate_connection_errors():
            await queue.cancel(tag)
    except BrokerConnectionLost as error:
        log.debug("download_queue_gone", reason=str(error))
