"""The simulated engine: deterministic, inside the host's process, for speed and scale.

Never the only proof of a statement about WhatsApp. Settings script all sessions; the recipient's
last digits script one message:

    to ends with 0000 → refused, not_on_whatsapp      to ends with 0001 → refused, send_failed
    to ends with 0002 → outcome unknown               to ends with 0003 → not sent, connection drops
    to ends with 0004 → acknowledged after 2 s        to ends with 0005 → answered with the same
    to ends with 0006 → WhatsApp writes the number without its fifth digit
"""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path

from wa_contracts.ids import SessionId
from wa_contracts.internal.questions import Answer, Question
from wa_contracts.internal.replies import PairingCode
from wa_session_host.domain.observations import (
    ClientVersion,
    ConnectionLost,
    LinkedDevice,
    LoggedIn,
    MessageSeen,
    QRRanOut,
    QRShown,
    ReceiptSeen,
    ReceivedMedia,
    Seen,
)
from wa_session_host.domain.proof import chat_of
from wa_session_host.engine.port import (
    NO_OPTIONS,
    Acknowledged,
    AskFailed,
    DownloadFailed,
    EngineOptions,
    NotSent,
    OutcomeUnknown,
    OutgoingMessage,
    PairingUnavailable,
    SendRefused,
)
from wa_session_host.engine.process.worker_engines import worker_environment
from wa_session_host.engine.simulated.questions import as_whatsapp_writes, simulated_answer
from wa_session_host.engine.simulated.server import SimulatedServer

SLOW_ACK_SECONDS = 2.0


@dataclass(frozen=True)
class Script:
    """Behaviour of simulated engines. Times in seconds.

    `server` accepts and acknowledges messages; without it the engine does. `links_after` is the
    time of the scan (None: no scan, the codes expire).
    """

    links_after: float | None = 2.0
    logs_in_after: float = 0.05
    ack_after: float = 0.0
    qr_lives: float = 20.0
    qr_codes: int = 6
    receipts: bool = True
    reconnects_after: float = 0.2
    server: SimulatedServer | None = None


@dataclass
class _ObservationQueue:
    """Queued observations in order, and timers for later ones."""

    queue: asyncio.Queue[Seen | None] = field(default_factory=asyncio.Queue)
    timers: set[asyncio.TimerHandle] = field(default_factory=set)

    def put_later(self, seconds: float, *seen: Seen) -> None:
        loop = asyncio.get_running_loop()

        def tell() -> None:
            self.timers.discard(handle)
            for one in seen:
                self.queue.put_nowait(one)

        handle = loop.call_later(seconds, tell)
        self.timers.add(handle)


class SimulatedEngine:
    """One simulated connection."""

    def __init__(
        self,
        session_id: SessionId,
        link: LinkedDevice | None,
        script: Script,
        may_act: Callable[[], bool] = lambda: True,
        media_server: dict[str, bytes] | None = None,
    ) -> None:
        """With `link` the engine logs in. Without, it shows QR codes and is linked by the script.

        `may_act` is whether the host's lease covers a send that begins now. `media_server` keeps
        the media of answers.
        """
        self._media_server = media_server if media_server is not None else {}
        self._may_act = may_act
        self._session_id = session_id
        self._script = script
        self._observations = _ObservationQueue()
        self._connected = link is not None
        lives = timedelta(seconds=script.qr_lives * script.qr_codes)
        self._codes_end = datetime.now(UTC) + lives
        self._pairing: asyncio.Task[None] | None = None
        self._numbers = count(1)
        if link is None:
            self._pairing = asyncio.create_task(self._pair())
        else:
            self._observations.put_later(script.logs_in_after, LoggedIn())

    async def _pair(self) -> None:
        script = self._script
        left = script.links_after
        for number in range(script.qr_codes):
            until = datetime.now(UTC) + timedelta(seconds=script.qr_lives)
            self._observations.queue.put_nowait(
                QRShown(f"simulated,{self._session_id},{number}", until)
            )
            if left is not None and left <= script.qr_lives:
                await asyncio.sleep(left)
                self._link()
                return
            await asyncio.sleep(script.qr_lives)
            left = None if left is None else left - script.qr_lives
        self._observations.queue.put_nowait(QRRanOut())
        self._observations.queue.put_nowait(None)

    def _link(self) -> None:
        number = str(10_000_000_000 + self._session_id.int % 80_000_000_000)
        self._connected = True
        self._observations.queue.put_nowait(LinkedDevice(f"{number}:1@s.whatsapp.net", number))
        self._observations.put_later(self._script.logs_in_after, LoggedIn())

    async def observations(self) -> AsyncIterator[Seen]:
        while (seen := await self._observations.queue.get()) is not None:
            yield seen

    async def send(self, message: OutgoingMessage) -> Acknowledged:
        if not self._connected:
            raise NotSent("The simulated connection is down.")
        if not self._may_act():
            raise NotSent("The host's lease does not cover a send.")
        await self._act_by_script(message.to.partition("@")[0])
        if self._script.server is not None:
            message_id = await self._script.server.accept(self._session_id, message)
            return Acknowledged(message_id, datetime.now(UTC))
        acknowledged = self._acknowledge(message)
        if not message.to.endswith(("@lid", "@g.us")):
            number = as_whatsapp_writes(message.to.partition("@")[0])
            acknowledged = replace(acknowledged, number=number)
        if message.to.partition("@")[0].endswith("0005") and not message.type.is_change:
            self._observations.put_later(0.05, await self._answer(message, acknowledged))
        return acknowledged

    async def _act_by_script(self, number: str) -> None:
        if self._script.ack_after:
            await asyncio.sleep(self._script.ack_after)
        match number[-4:]:
            case "0000":
                raise SendRefused("not_on_whatsapp", "This number is not on WhatsApp.")
            case "0001":
                raise SendRefused("send_failed", "WhatsApp refused the message: simulated.")
            case "0002":
                raise OutcomeUnknown("The simulated server did not acknowledge.")
            case "0003":
                self._drop()
                raise NotSent("The simulated connection was lost.")
            case "0004":
                await asyncio.sleep(SLOW_ACK_SECONDS)

    async def _answer(self, message: OutgoingMessage, quoted: Acknowledged) -> MessageSeen:
        """The recipient's answer: the same content, quoting the message."""
        number = message.to.partition("@")[0]
        lid = f"{int(number) + 1}@lid"
        return MessageSeen(
            message_id="3A" + quoted.message_id[4:],
            chat=lid,
            sender=lid,
            sender_number=number,
            sender_lid=lid,
            kind=message.type,
            text=message.text,
            media=await self._received(message),
            quoted_message_id=quoted.message_id,
            is_group=False,
            at=quoted.at,
        )

    async def _received(self, message: OutgoingMessage) -> ReceivedMedia | None:
        if message.media is None:
            return None
        data = await asyncio.to_thread(message.media.path.read_bytes)
        digest = sha256(data).hexdigest()
        self._media_server[digest] = data
        return ReceivedMedia(
            kind=message.type,
            direct_path=digest,
            media_key="",
            sha256=digest,
            encrypted_sha256=digest,
            size=len(data),
            mime_type=message.media.mime_type,
            file_name=message.media.file_name if message.type == "document" else None,
        )

    def _acknowledge(self, message: OutgoingMessage) -> Acknowledged:
        name = f"{self._session_id}/{next(self._numbers)}/{datetime.now(UTC).timestamp()}"
        message_id = "3EB0" + sha256(name.encode()).hexdigest()[:18].upper()
        now = datetime.now(UTC)
        if self._script.receipts:
            self._observations.put_later(
                0.05, ReceiptSeen((chat_of(message.to),), (message_id,), "delivered", at=now)
            )
        return Acknowledged(message_id, now)

    def _drop(self) -> None:
        self._connected = False
        self._observations.queue.put_nowait(ConnectionLost("connection_lost", "Simulated drop."))

        def back() -> None:
            self._connected = True
            self._observations.queue.put_nowait(LoggedIn())

        handle = asyncio.get_running_loop().call_later(self._script.reconnects_after, back)
        self._observations.timers.add(handle)

    async def pairing_code(self, phone_number: str) -> PairingCode:
        if self._pairing is None or self._pairing.done():
            raise PairingUnavailable("The session is linked already.")
        code = sha256(phone_number.encode()).hexdigest()[:8].upper()
        return PairingCode(
            pairing_code=f"{code[:4]}-{code[4:]}",
            expires_at=self._codes_end,
        )

    async def download(self, media: ReceivedMedia, path: Path) -> None:
        if not self._connected:
            raise DownloadFailed("media_unavailable", "The simulated connection is down.")
        data = self._media_server.get(media.direct_path)
        if data is None:
            raise DownloadFailed("media_gone", "WhatsApp does not keep this media any more.")
        await asyncio.to_thread(path.write_bytes, data)

    async def ask(self, question: Question) -> Answer:
        if not self._connected:
            raise AskFailed("whatsapp_unavailable", "The simulated connection is down.")
        return simulated_answer(question)

    async def log_out(self) -> None:
        self._connected = False

    async def stop(self) -> None:
        self._connected = False
        for timer in self._observations.timers:
            timer.cancel()
        if self._pairing is not None:
            self._pairing.cancel()
        self._observations.queue.put_nowait(None)


class SimulatedEngines:
    """Factory of simulated engines with one script."""

    version = ClientVersion("simulated", "simulated")

    def __init__(self, script: Script) -> None:
        self._script = script
        self._deadline = 0.0
        self._decoders: set[asyncio.Task[int]] = set()
        self.media_server: dict[str, bytes] = {}
        """Media of recipients' answers, by hash."""

    async def use(self, library: Path | None) -> None:
        """Nothing to load."""

    async def prepare(self) -> None:
        """Nothing to start."""

    async def start(
        self,
        session_id: SessionId,
        link: LinkedDevice | None,
        _options: EngineOptions = NO_OPTIONS,
    ) -> SimulatedEngine:
        return SimulatedEngine(session_id, link, self._script, self._may_act, self.media_server)

    async def start_decoder(self, end: socket.socket) -> int | None:
        """Start a media decoder around its end of a socket pair."""
        decoder = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "wa_session_host.decoding.process",
            str(end.fileno()),
            pass_fds=[end.fileno()],
            env=worker_environment(os.environ),
        )
        self._decoders = {one for one in self._decoders if not one.done()}
        self._decoders.add(asyncio.create_task(decoder.wait()))
        return decoder.pid

    @property
    def worker_pids(self) -> list[int]:
        """Empty: the engines run in the host's process."""
        return []

    def _may_act(self) -> bool:
        return time.monotonic() < self._deadline

    def extend(self, deadline: float) -> None:
        """See `Engines.extend`. Simulated engines end with their host."""
        self._deadline = deadline

    async def close(self) -> None:
        """Wait for the decoders, whose time is limited."""
        await asyncio.gather(*self._decoders)
