"""neonize (whatsmeow) as an engine: callbacks become observations, errors the port's errors.

The Go library must be loaded (`library.load`). neonize is stable with one client per process, callbacks
that only queue, media as bytes, and no bot tag.
"""

import asyncio
import os
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from neonize._binder import ProxySettings
from neonize.exc import NeonizeError
from neonize.proto import Neonize_pb2 as proto
from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils.enum import ClientName, ClientType

from wa_contracts.internal.questions import Answer, Question
from wa_contracts.internal.replies import PairingCode
from wa_session_host.domain.observations import (
    ChangeSeen,
    ClientOutdated,
    EngineCrashed,
    EngineEnding,
    LinkedDevice,
    LinkRemoved,
    LoggedIn,
    ReceiptSeen,
    ReceivedMedia,
    Seen,
)
from wa_session_host.engine.neonize.client import LOGIN_STATUS, PARSERS, QR, READERS, Client
from wa_session_host.engine.neonize.engine_log import EngineLog
from wa_session_host.engine.neonize.library import read_all_lines
from wa_session_host.engine.neonize.linking import Linking, pairing_refusal
from wa_session_host.engine.neonize.outgoing import content
from wa_session_host.engine.neonize.outgoing.account_lookup import Account, AccountLookup
from wa_session_host.engine.neonize.outgoing.left_out import NO_KEYS
from wa_session_host.engine.neonize.outgoing.numbers import Numbers
from wa_session_host.engine.neonize.outgoing.questions import Questions
from wa_session_host.engine.neonize.outgoing.send_errors import preparation_error, send_error
from wa_session_host.engine.neonize.presence import announce
from wa_session_host.engine.neonize.translation import (
    connection_observations,
    download_error,
    from_timestamp,
    own_address,
    parse_jid,
)
from wa_session_host.engine.neonize.votes import with_vote
from wa_session_host.engine.port import (
    Acknowledged,
    DownloadFailed,
    NotNow,
    NotSent,
    OutgoingMessage,
    PairingUnavailable,
    SendRefused,
)
from wa_session_host.engine.protocol import Begin


class WhatsApp:
    """The real engine of one session, for one attempt."""

    def __init__(
        self,
        begin: Begin,
        tell: Callable[[Seen], None],
        end: Callable[[], Awaitable[None]],
        engine_log: EngineLog,
    ) -> None:
        """`tell` reports an observation; `end` ends the process."""
        self._log = engine_log
        self._begin = begin
        self._tell = tell
        self._end = end
        self._events: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._linking = Linking(begin.version, self._log)
        self._linked = begin.link is not None
        self._own = own_address(begin.link)
        self._tasks: list[asyncio.Task[None]] = []
        self._announcement: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(max_workers=8, thread_name_prefix="neonize"))

        def on_event(code: int, data: bytes) -> None:
            loop.call_soon_threadsafe(self._events.put_nowait, (code, data))

        def on_unreadable(chat: str, message_id: str) -> None:
            seen = ReceiptSeen((chat,), (message_id,), "unreadable", datetime.now(UTC))
            loop.call_soon_threadsafe(tell, seen)

        engine_log.on_unreadable = on_unreadable
        self._client = self._make_client(on_event)
        self._numbers = Numbers(self._client)
        self._accounts = AccountLookup(self._numbers.account)
        self._questions = Questions(
            self._client, self._numbers, address=self._address, own=lambda: self._own
        )

    def _make_client(self, on_event: Callable[[int, bytes], None]) -> Client:
        name = self._begin.options.device_name or "WhatsApp Multi-Session Manager"
        props = DeviceProps(os=name, platformType=DeviceProps.CHROME)
        link = self._begin.link
        if link is None:
            read_all_lines()
            return Client(
                self._begin.device_store,
                uuid=self._begin.session_id,
                new_device=True,
                props=props,
                on_event=on_event,
            )
        return Client(
            self._begin.device_store, jid=parse_jid(link.jid), props=props, on_event=on_event
        )

    async def connect(self) -> None:
        """Start to connect. Further results are reported as observations."""
        self._keep(self._read_events())
        if self._begin.link is not None and not self._begin.stored:
            self._tell(LinkRemoved())
            await self._end()
        self._keep(self._stay_connected())

    def _keep(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        """Run a background task. A bug in it ends the process, a crash to the host."""
        task = asyncio.create_task(work)
        task.add_done_callback(_end_on_defect)
        self._tasks.append(task)
        return task

    async def _stay_connected(self) -> None:
        message = "The engine's connection ended."
        try:
            proxy = self._begin.options.proxy
            await (await self._client.connect(proxy and ProxySettings(proxy_address=proxy)))
        except NeonizeError as error:
            message = str(error)
        self._tell(EngineCrashed(reason="connect_failed", message=message))
        await self._end()

    def _announce_presence(self) -> None:
        """The former announcement, if it goes on, is for a connection that ended."""
        if self._announcement is not None:
            self._announcement.cancel()
        self._announcement = self._keep(announce(self._client, self._begin.options.presence))

    async def _read_events(self) -> None:
        while True:
            code, data = await self._events.get()
            for seen in self._understand(code, data):
                if isinstance(seen, LoggedIn):
                    self._announce_presence()
                self._tell(await self._completed(seen, data))
                if isinstance(seen, EngineEnding):
                    await self._end()

    async def _completed(self, seen: Seen, data: bytes) -> Seen:
        """With what only the engine or its device store knows."""
        if isinstance(seen, ChangeSeen) and seen.change == "voted":
            return await with_vote(seen, self._client.uuid, data)
        return await self._with_number(seen) if isinstance(seen, ReceiptSeen) else seen

    async def _with_number(self, seen: ReceiptSeen) -> ReceiptSeen:
        """Add the chat's number, if the device store knows the number of the LID."""
        [chat] = seen.chats
        jid = parse_jid(chat)
        number = await self._numbers.number_of(jid) if jid.Server == "lid" else None
        return replace(seen, chats=(chat, f"{number}@s.whatsapp.net")) if number else seen

    def _understand(self, code: int, data: bytes) -> tuple[Seen, ...]:
        match code:
            case _ if code == QR:
                return self._linking.qr(data.decode())
            case _ if code == LOGIN_STATUS:
                return () if self._linked else self._linking.status(data)
        if code not in PARSERS:
            return ()  # unsolicited: the device itself
        event = PARSERS[code].FromString(data)
        match event:
            case proto.PairStatus():
                return self._paired(self._linking.paired(event))
            case proto.Connected() | proto.KeepAliveRestored():
                return (LoggedIn(),) if self._linked else ()
            case proto.ClientOutdated():
                return (ClientOutdated(self._begin.version),)
            case _ if (read := READERS.get(type(event))) is not None:
                return read(event)
            case _:
                return connection_observations(event, self._log.words)

    def _paired(self, seen: tuple[Seen, ...]) -> tuple[Seen, ...]:
        for one in seen:
            if isinstance(one, LinkedDevice):
                self._linked, self._own = True, own_address(one)
        return seen

    async def send(self, message: OutgoingMessage) -> Acknowledged:
        recipient, to, body = await self._prepared(message)
        try:
            answer = await self._client.send_message(parse_jid(to), body)
        except NeonizeError as error:
            raise send_error(str(error), to_group=to.endswith("@g.us")) from error
        if await self._log.left_out.has_phone_of(to, answer.ID, self._client):
            raise SendRefused("send_failed", NO_KEYS)
        return Acknowledged(
            answer.ID,
            from_timestamp(answer.Timestamp),
            number=recipient.number if recipient is not None else None,
        )

    async def _prepared(self, message: OutgoingMessage) -> tuple[Account | None, str, Message]:
        """The recipient's account, the chat's JID, and the body. Nothing was sent yet: every error says so.

        An unexpected error fails this message alone: a retry would hold up all behind it.
        """
        try:
            recipient = await self._recipient(message.to)
            to = message.to if recipient is None else recipient.jid
            if message.parts is not None and message.parts.mention_all:
                message = message.mentioning(await self._questions.members_of(to))
            return recipient, to, await content.build(self._client, message, to, self._own)
        except (NotSent, NotNow, SendRefused):
            raise
        except NeonizeError as error:
            raise preparation_error(str(error)) from error
        except OSError as error:
            raise SendRefused("media_unavailable", "The media's file cannot be read.") from error
        except Exception as error:
            problem = f"The engine could not prepare the message: {type(error).__name__}."
            raise SendRefused("send_failed", problem) from error

    async def _recipient(self, to: str) -> Account | None:
        """The account of a number; None for a group or a JID that hides the number."""
        number, _, server = to.partition("@")
        if server not in {"", "s.whatsapp.net"}:
            return None
        found = await self._accounts.find(number)
        if found is None:
            raise SendRefused("not_on_whatsapp", "This number is not on WhatsApp.")
        return found

    async def _address(self, to: str) -> str:
        """The JID of a chat, by the account where it is a number's."""
        recipient = await self._recipient(to)
        return to if recipient is None else recipient.jid

    async def ask(self, question: Question) -> Answer:
        return await self._questions.answer(question)

    async def pairing_code(self, phone_number: str) -> PairingCode:
        """See `Engine.pairing_code`. Waits for the first QR code."""
        if self._linked:
            raise PairingUnavailable("The session is linked already.")
        async with asyncio.timeout(20):
            await self._linking.is_shown.wait()
        try:
            code = await self._client.PairPhone(
                phone_number,
                show_push_notification=True,
                client_name=ClientName.LINUX,
                client_type=ClientType.CHROME,
            )
        except NeonizeError as error:
            raise pairing_refusal(str(error)) from error
        return PairingCode(pairing_code=code, expires_at=self._linking.ends_at)

    async def download(self, media: ReceivedMedia, path: Path) -> None:
        try:
            data = await content.download(self._client, media)
        except NeonizeError as error:
            raise download_error(str(error)) from error
        try:
            await asyncio.to_thread(path.write_bytes, data)
        except OSError as error:
            message = f"The session-host cannot store the media: {error.strerror}."
            raise DownloadFailed("media_unavailable", message) from error

    async def log_out(self) -> None:
        try:
            async with asyncio.timeout(10):
                await self._client.logout()
        except (NeonizeError, TimeoutError) as error:
            raise NotSent(f"WhatsApp did not confirm the log-out: {error}") from error


def _end_on_defect(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        traceback.print_exception(error)
        os._exit(70)
