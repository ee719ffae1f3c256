"""One client's websocket: handshake, frames, stanzas in and out.

What the stanzas mean is settled in `reception`.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator

from aiohttp import WSMsgType, web

from tests.whatsapp.nodes import Node, decode, encode
from tests.whatsapp.noise import CLIENT_HEADER, NoiseSession, ServerHandshake, ServerIdentity

log = logging.getLogger(__name__)

_LENGTH_BYTES = 3
_REPLY_SECONDS = 20.0
_TIME_TO_READ_SECONDS = 0.3
"""Between a last stanza and the close. Without it the client may see the close first."""


class Disconnected(ConnectionError):
    """The client's socket closed while something was awaited from it."""


class Connection:
    """An encrypted channel to one client.

    Iterate over it for the client's stanzas; the iteration ends when the socket does. While
    `is_muted` nothing is sent and everything that arrives is thrown away, yet the socket stays
    open.
    """

    def __init__(self, websocket: web.WebSocketResponse, request: web.Request) -> None:
        self._websocket = websocket
        self._transport = request.transport
        self._received = bytearray()
        self._session: NoiseSession | None = None
        self._replies: dict[str, asyncio.Future[Node]] = {}
        self._ids = itertools.count(1)
        self._sending = asyncio.Lock()
        self._unawaited: set[asyncio.Task[None]] = set()
        self.is_muted = False

    @property
    def session(self) -> NoiseSession:
        """The channel's keys and what the client proved; there after `handshake`."""
        if self._session is None:
            raise AssertionError("used before the handshake")
        return self._session

    async def handshake(self, identity: ServerIdentity) -> None:
        """Agree on keys; raises Disconnected if the client leaves, as one that distrusts us does."""
        handshake = ServerHandshake(identity)
        hello = await self._frame()
        await self._write(handshake.answer(hello))
        self._session = handshake.finish(await self._frame())

    async def __aiter__(self) -> AsyncIterator[Node]:
        while True:
            try:
                frame = await self._frame()
            except Disconnected:
                return
            node = decode(self.session.decrypt(frame))
            log.debug("from client: %s", node)
            if not self.is_muted and not self._is_reply(node):
                yield node

    async def send(self, node: Node) -> None:
        """Send one stanza; it vanishes if the socket is closed or the channel muted."""
        if self.is_muted or self._websocket.closed:
            return
        log.debug("to client: %s", node)
        async with self._sending:
            try:
                await self._write(self.session.encrypt(encode(node)))
            except ConnectionError:
                log.debug("socket closed while sending")

    def send_soon(self, node: Node) -> None:
        """The same, without waiting for it."""
        task = asyncio.get_running_loop().create_task(self.send(node))
        self._unawaited.add(task)
        task.add_done_callback(self._unawaited.discard)

    async def request(self, node: Node) -> Node:
        """Send an `<iq>`, giving it an id, and return the client's answer.

        Raises Disconnected if the client leaves first, TimeoutError after 20 s.
        """
        request_id = f"server-{next(self._ids)}"
        reply: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self._replies[request_id] = reply
        await self.send(Node(node.tag, {**node.attrs, "id": request_id}, node.content))
        async with asyncio.timeout(_REPLY_SECONDS):
            return await reply

    async def end(self, node: Node) -> None:
        """Send a last stanza, give the client the time to read it, and close."""
        await self.send(node)
        await asyncio.sleep(_TIME_TO_READ_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Close with the websocket's farewell."""
        self._give_up_replies()
        await self._websocket.close()

    def abort(self) -> None:
        """Close at once, without a word, as a broken network does."""
        if self._transport is not None:
            self._transport.abort()

    def _is_reply(self, node: Node) -> bool:
        reply = self._replies.pop(node.text("id"), None)
        if reply is None or node.text("type") not in ("result", "error"):
            return False
        if not reply.done():
            reply.set_result(node)
        return True

    def _give_up_replies(self) -> None:
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(Disconnected("the client left without an answer"))
        self._replies.clear()

    async def _write(self, payload: bytes) -> None:
        await self._websocket.send_bytes(len(payload).to_bytes(_LENGTH_BYTES) + payload)

    async def _frame(self) -> bytes:
        while True:
            self._received = self._received.removeprefix(CLIENT_HEADER)
            length = int.from_bytes(self._received[:_LENGTH_BYTES])
            end = _LENGTH_BYTES + length
            if len(self._received) >= _LENGTH_BYTES and len(self._received) >= end:
                frame = bytes(self._received[_LENGTH_BYTES:end])
                del self._received[:end]
                return frame
            message = await self._websocket.receive()
            if message.type is not WSMsgType.BINARY:
                raise Disconnected(f"websocket ended: {message.type.name}")
            self._received += message.data
