"""Where clients arrive: each is paired, refused or logged in, and then served.

Source: the engine's `client.go`, `connectionevents.go` and `pair.go`.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web
from cryptography.exceptions import InvalidTag

from tests.whatsapp.accounts import Account, Companion, Directory
from tests.whatsapp.connection import Connection, Disconnected
from tests.whatsapp.inbox import ReceivedReceipt
from tests.whatsapp.link_code import LinkCodeDesk
from tests.whatsapp.nodes import SERVER_JID, Attributes, Jid, Node, now_text
from tests.whatsapp.noise import ServerIdentity
from tests.whatsapp.outbox import RETRY
from tests.whatsapp.pairing import Applicant, PairingDesk
from tests.whatsapp.post import PostOffice
from tests.whatsapp.protobufs import ClientPayload
from tests.whatsapp.queries import Queries, result
from tests.whatsapp.refusals import UNAUTHORIZED
from tests.whatsapp.waiting import Changes

log = logging.getLogger(__name__)

_LARGEST_FRAME_BYTES = 1 << 24
_FAREWELL_SECONDS = 1.0
REPLACED = Node("stream:error", content=[Node("conflict", {"type": "replaced"})])
DEVICE_REMOVED = Node(
    "stream:error", {"code": "401"}, [Node("conflict", {"type": "device_removed"})]
)


@dataclass(frozen=True)
class Reception:
    """Receives every websocket of the stand-in."""

    identity: ServerIdentity
    directory: Directory
    pairing: PairingDesk
    link_codes: LinkCodeDesk
    queries: Queries
    post: PostOffice
    changes: Changes

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Serve one websocket until it ends."""
        websocket = web.WebSocketResponse(
            max_msg_size=_LARGEST_FRAME_BYTES, compress=False, timeout=_FAREWELL_SECONDS
        )
        await websocket.prepare(request)
        connection = Connection(websocket, request)
        try:
            await connection.handshake(self.identity)
            await self._serve(connection)
        except (Disconnected, ConnectionError) as reason:
            log.debug("client left: %s", reason)
        except (ValueError, InvalidTag):
            log.exception("client sent what no client sends")
        finally:
            await connection.close()
        return websocket

    async def _serve(self, connection: Connection) -> None:
        payload = ClientPayload.FromString(connection.session.client_payload)
        version = payload.userAgent.appVersion
        self.directory.clients.append(f"{version.primary}.{version.secondary}.{version.tertiary}")
        is_linked = not payload.HasField("devicePairingData")
        refusal = self.directory.refusals.of_client(version, is_linked=is_linked)
        if refusal is not None:
            await connection.end(refusal.answer())
            return
        if payload.HasField("devicePairingData"):
            await self._pair(Applicant.of(connection, payload))
            return
        account = self.directory.find(Jid(str(payload.username)))
        companion = account.companions.get(payload.device) if account else None
        if account is None or companion is None or not _proves(connection, companion):
            await connection.end(UNAUTHORIZED.answer())
        elif account.faults.login_refusal is not None:
            await connection.end(account.faults.login_refusal.answer())
        else:
            await self._log_in(connection, account, companion)

    async def _pair(self, applicant: Applicant) -> None:
        """Serve a client that has no account; the server hangs up when its codes have run out."""
        connection = applicant.connection
        with self.pairing.waiting(applicant), suppress(TimeoutError):
            async with asyncio.timeout(applicant.life_seconds):
                await applicant.offer_refs()
                async for stanza in connection:
                    if stanza.text("type") not in ("get", "set"):
                        continue
                    refusal = self.directory.refusals.of_query(stanza)
                    if refusal is not None:
                        if (answer := refusal.answer(stanza)) is not None:
                            await connection.send(answer)
                        continue
                    is_code = stanza.child("link_code_companion_reg") is not None
                    content = self.link_codes.answer(applicant, stanza) if is_code else None
                    await connection.send(result(stanza, content))

    async def _log_in(self, connection: Connection, account: Account, companion: Companion) -> None:
        if companion.link is not None:
            await companion.link.end(REPLACED)
        companion.link, companion.is_active = connection, False
        connection.is_muted = account.faults.is_muted
        _, lid_jid = account.device_jids(companion.device)
        await connection.send(Node("success", {"t": now_text(), "lid": lid_jid}))
        self.changes.announce()
        try:
            async for stanza in connection:
                await self._handle(account, companion, stanza)
        finally:
            if companion.link is connection:
                companion.link, companion.is_active = None, False
                self.changes.announce()

    async def _handle(self, account: Account, companion: Companion, stanza: Node) -> None:
        match stanza.tag:
            case "iq":
                await self.queries.answer(account, companion, stanza)
            case "message":
                await self.post.accept(account, companion, stanza)
            case "ack":
                companion.acknowledge(stanza.text("class"), stanza.text("id"))
            case "chatstate":
                self._show_typing(stanza)
            case "receipt":
                await self._take_receipt(account, companion, stanza)

    def _show_typing(self, stanza: Node) -> None:
        reader = self.directory.find(stanza.jid("to"))
        if reader is not None:
            [state] = stanza.children
            is_audio = state.text("media") == "audio"
            reader.inbox.typing.append("recording" if is_audio else state.tag)
            self.changes.announce()

    async def _take_receipt(self, account: Account, companion: Companion, stanza: Node) -> None:
        companion.acknowledge("message", stanza.text("id"))
        author = self.directory.find(stanza.jid("to"))
        if author is not None and stanza.text("type") == RETRY:
            await author.outbox.send_again(account, companion, stanza.text("id"))
        elif author is not None:
            items = [item.text("id") for part in stanza.children for item in part.children]
            for message_id in (stanza.text("id"), *items):
                author.inbox.receipts.append(
                    ReceivedReceipt(message_id, account.number, stanza.text("type"))
                )
            self.changes.announce()
        if companion.link is not None:
            attrs: Attributes = {
                "class": "receipt",
                "id": stanza.text("id"),
                "from": SERVER_JID,
            }
            await companion.link.send(Node("ack", attrs))


def _proves(connection: Connection, companion: Companion) -> bool:
    """Whether the client has the key of the device that it says it is."""
    return companion.noise_key == connection.session.client_static
