"""WhatsApp and the engines that connect to it, as a script says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from wa_contracts.ids import SessionId
from wa_contracts.internal.questions import Answer, Question
from wa_contracts.internal.replies import PairingCode
from wa_session_host.domain.observations import (
    ClientVersion,
    EngineCrashed,
    LinkedDevice,
    LoggedIn,
    MessageSeen,
    QRShown,
    ReceivedMedia,
    Seen,
)
from wa_session_host.engine.port import (
    Acknowledged,
    NotNow,
    NotSent,
    OutcomeUnknown,
    OutgoingMessage,
    PairingUnavailable,
    SendRefused,
)

VERSION = ClientVersion("scripted", "2.3000.1")
LOGIN_SECONDS = 0.05
SCAN_SECONDS = 0.2
ANSWER_SECONDS = 0.05

Fate = Literal["ack", "slow ack", "not sent", "not now", "refused", "ack lost", "crash"]
FATES: tuple[Fate, ...] = (
    "ack", "slow ack", "not sent", "not now", "refused", "ack lost", "crash",
)  # fmt: skip


@dataclass
class WhatsApp:
    """What its server saw. `fates` says what becomes of the next sends."""

    received: Counter[str] = field(default_factory=Counter)
    """How often it got each text."""
    acknowledged: set[str] = field(default_factory=set)
    fates: list[Fate] = field(default_factory=list)
    live: dict[SessionId, "ScriptedEngine"] = field(default_factory=dict)
    linked: dict[str, LinkedDevice] = field(default_factory=dict)
    """Links that no phone and no log-out removed, by their JID."""
    twice: list[SessionId] = field(default_factory=list)
    """Sessions of which two engines were connected at the same time."""
    links: int = 0
    asked: list[Question] = field(default_factory=list)

    def link(self) -> LinkedDevice:
        """A new link."""
        self.links += 1
        device = LinkedDevice(f"1555000{self.links:04}:1@s.whatsapp.net", f"1555000{self.links:04}")
        self.linked[device.jid] = device
        return device


class ScriptedEngines:
    """One host's engines. They act until the deadline that the host's leases give."""

    version = VERSION

    def __init__(self, whatsapp: WhatsApp) -> None:
        self._whatsapp = whatsapp
        self.deadline = 0.0
        self.start_seconds = 0.02
        self._engines: list[ScriptedEngine] = []

    async def use(self, library: Path | None) -> None:
        """There is no library."""

    async def prepare(self) -> None:
        """Nothing is shared."""

    async def start(
        self, session_id: SessionId, link: LinkedDevice | None, _options: object = None
    ) -> "ScriptedEngine":
        """Takes `start_seconds`, as a host that starts many takes its time."""
        await asyncio.sleep(self.start_seconds)
        engine = ScriptedEngine(self._whatsapp, self, session_id, link)
        self._engines.append(engine)
        return engine

    @property
    def worker_pids(self) -> list[int]:
        """No processes."""
        return []

    def extend(self, deadline: float) -> None:
        """End all engines at the deadline, unless it is extended again."""
        self.deadline = deadline
        asyncio.get_running_loop().call_at(deadline, self._end_overdue)

    def _end_overdue(self) -> None:
        if asyncio.get_running_loop().time() >= self.deadline:
            self.end_all()

    def end_all(self) -> None:
        """All of them end at once."""
        for engine in self._engines:
            engine.end()


class ScriptedEngine:
    """One connection. Without a link it shows a code, which is scanned soon."""

    def __init__(
        self,
        whatsapp: WhatsApp,
        engines: ScriptedEngines,
        session_id: SessionId,
        link: LinkedDevice | None,
    ) -> None:
        self._whatsapp = whatsapp
        self._engines = engines
        self.session_id = session_id
        self.link = link
        self._seen: asyncio.Queue[Seen | None] = asyncio.Queue()
        self._ended = asyncio.Event()
        if session_id in whatsapp.live:
            whatsapp.twice.append(session_id)
        whatsapp.live[session_id] = self
        later = asyncio.get_running_loop().call_later
        if link is None:
            later(LOGIN_SECONDS, self._show_code)
            later(SCAN_SECONDS, self._scanned)
        else:
            later(LOGIN_SECONDS, self.tell, LoggedIn())

    def tell(self, seen: Seen) -> None:
        """Report an observation, while it lives."""
        if not self._ended.is_set():
            self._seen.put_nowait(seen)

    def _show_code(self) -> None:
        self.tell(QRShown("2@code", _now() + timedelta(seconds=20)))

    def _scanned(self) -> None:
        if not self._ended.is_set():
            self.link = self._whatsapp.link()
            self.tell(self.link)
            self.tell(LoggedIn())

    def crash(self) -> None:
        """End unexpectedly."""
        self.tell(EngineCrashed("crashed", "The process ended."))
        self.end()

    def receive(self, text: str) -> None:
        """A message arrives."""
        self.tell(text_seen(text))

    def end(self) -> None:
        """No observation any more; sends under way have no answer."""
        if not self._ended.is_set():
            self._ended.set()
            self._seen.put_nowait(None)
            if self._whatsapp.live.get(self.session_id) is self:
                del self._whatsapp.live[self.session_id]

    async def observations(self) -> AsyncIterator[Seen]:
        """Until its end."""
        while (seen := await self._seen.get()) is not None:
            yield seen

    async def send(self, message: OutgoingMessage) -> Acknowledged:
        """As the script says."""
        text = message.text or ""
        if self._ended.is_set() or asyncio.get_running_loop().time() >= self._engines.deadline:
            raise NotSent("not connected")
        fate = self._whatsapp.fates.pop(0) if self._whatsapp.fates else "ack"
        if fate == "not sent":
            raise NotSent("WhatsApp asks to wait")
        if fate == "not now":
            raise NotNow("rate_limited_by_whatsapp", "WhatsApp limits the rate")
        if fate == "refused":
            raise SendRefused("send_failed", "WhatsApp refused it")
        self._whatsapp.received[text] += 1
        if fate == "crash":
            self.crash()
        wait = 2.0 if fate == "slow ack" else ANSWER_SECONDS
        try:
            async with asyncio.timeout(wait):
                await self._ended.wait()
        except TimeoutError:
            if fate != "ack lost":
                self._whatsapp.acknowledged.add(text)
                return Acknowledged(f"3EB0{len(self._whatsapp.acknowledged):08}", _now())
        raise OutcomeUnknown("no answer")

    async def pairing_code(self, phone_number: str) -> PairingCode:
        """None here."""
        raise PairingUnavailable("no codes")

    async def download(self, media: ReceivedMedia, path: Path) -> None:
        """None here."""
        raise NotImplementedError

    async def ask(self, question: Question) -> Answer:
        """Nothing to tell."""
        self._whatsapp.asked.append(question)
        return Answer()

    async def log_out(self) -> None:
        """Remove the link."""
        await asyncio.sleep(ANSWER_SECONDS)
        if self.link is not None and not self._ended.is_set():
            self._whatsapp.linked.pop(self.link.jid, None)

    async def stop(self) -> None:
        """End it."""
        self.end()


def _now() -> datetime:
    return datetime.now(UTC)


def text_seen(text: str) -> MessageSeen:
    """A text of a contact."""
    return MessageSeen(
        message_id=f"3EB0{text!r}",
        chat="15550002222@s.whatsapp.net",
        sender="15550002222@s.whatsapp.net",
        sender_number="15550002222",
        sender_lid=None,
        kind="text",
        text=text,
        media=None,
        quoted_message_id=None,
        is_group=False,
        at=_now(),
    )
