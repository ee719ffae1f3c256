"""The port between a session and an engine, its connection to WhatsApp.

An engine is one session's connection for one attempt. It reports observations in order and carries
out calls. An ended engine does not restart: the session starts another one.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.content import Parts
from wa_contracts.internal.questions import Answer, Question
from wa_contracts.internal.replies import PairingCode
from wa_contracts.session_options import Presence
from wa_session_host.domain.observations import (
    ClientVersion,
    LinkedDevice,
    ReceivedMedia,
    Seen,
)


@dataclass(frozen=True)
class MediaDetails:
    """What a phone shows before the download.

    `thumbnail` is base64 of a small JPEG, `waveform` base64 of 64 values from 0 to 100.
    """

    width: int | None = None
    height: int | None = None
    thumbnail: str | None = None
    seconds: int | None = None
    waveform: str | None = None
    is_animated: bool = False


@dataclass(frozen=True)
class MediaFile:
    """Media ready to send: a file that the engine only reads."""

    path: Path
    mime_type: str
    file_name: str | None
    details: MediaDetails | None = None


@dataclass(frozen=True)
class LinkPreview:
    """What phones show of a text's link. `thumbnail` is base64 of a small JPEG of its picture."""

    link: str
    title: str
    description: str
    thumbnail: str | None = None


@dataclass(frozen=True)
class OutgoingMessage:
    """One message for the engine. `media` is None where the content is no file."""

    to: str
    type: MessageType
    text: str | None
    media: MediaFile | None
    parts: Parts | None = None
    link: LinkPreview | None = None

    def mentioning(self, members: tuple[str, ...]) -> Self:
        """The message with these mentions more."""
        parts = self.parts or Parts()
        update = {"mentions": (*parts.mentions, *members)}
        return replace(self, parts=parts.model_copy(update=update))


@dataclass(frozen=True)
class Acknowledged:
    """WhatsApp's server accepted the message under `message_id`.

    `number` is the recipient's in digits, as WhatsApp writes it. None if the number was not looked
    up (groups, JIDs that hide the number) or WhatsApp named only such a JID.
    """

    message_id: str
    at: datetime
    number: str | None = None


class NotSent(Exception):
    """The message certainly was not sent, and no other message can be sent now either."""


class NotNow(Exception):
    """The message certainly was not sent, and cannot go now. Other messages can.

    `code` is the reason. `unrecognised`: the engine's error text is in no table.
    """

    def __init__(self, code: str, message: str, *, unrecognised: bool = False) -> None:
        """`code` for programs, `message` for people."""
        super().__init__(message)
        self.code = code
        self.unrecognised = unrecognised


class SendRefused(Exception):
    """The message certainly was not sent and never will be. `code` is the reason."""

    def __init__(self, code: str, message: str) -> None:
        """`code` for programs, `message` for people."""
        super().__init__(message)
        self.code = code


class OutcomeUnknown(Exception):
    """The message may have been sent. `unrecognised`: the engine's error text is in no table."""

    def __init__(self, message: str, *, unrecognised: bool = False) -> None:
        super().__init__(message)
        self.unrecognised = unrecognised


class PairingUnavailable(Exception):
    """No pairing is possible now: the session is linked, or WhatsApp refused."""


class DownloadFailed(Exception):
    """The media is unavailable. `code` is `media_gone` (for good) or `media_unavailable`."""

    def __init__(self, code: str, message: str) -> None:
        """`code` for programs, `message` for people."""
        super().__init__(message)
        self.code = code


class AskFailed(Exception):
    """WhatsApp did not answer a question, or refused. `retry_after_seconds`: when to ask again."""

    def __init__(
        self, code: str, message: str, *, retry_after_seconds: float | None = None
    ) -> None:
        """`code` for programs, `message` for people."""
        super().__init__(message)
        self.code = code
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class EngineOptions:
    """An operator's choices for one attempt.

    `proxy` carries WhatsApp's connection and its media. `device_name` is what the phone lists, if
    the attempt links.
    """

    proxy: str | None = None
    device_name: str | None = None
    presence: Presence = Presence.UNAVAILABLE


NO_OPTIONS = EngineOptions()


class Engine(Protocol):
    """One session's connection, for one attempt."""

    def observations(self) -> AsyncIterator[Seen]:
        """Observations in order, until the engine has ended. For one reader."""

    async def send(self, message: OutgoingMessage) -> Acknowledged:
        """Send one message and wait for the server's ack, at most 75 s.

        Before the first message to a number the engine looks up its account. The message goes to
        the account's number, which may differ (Brazil's ninth digit).

        Raises:
            NotSent: not connected, or the lease does not cover a send: send it later.
            NotNow: WhatsApp or its media server cannot take this message now.
            SendRefused: for good, for example `not_on_whatsapp`.
            OutcomeUnknown: no ack came, or the engine ended meanwhile.

        Source: whatsmeow's send request timeout.
        """

    async def pairing_code(self, phone_number: str) -> PairingCode:
        """A code that links the phone with this number.

        Raises:
            PairingUnavailable: with a sentence that gives the reason.
        """

    async def download(self, media: ReceivedMedia, path: Path) -> None:
        """Download incoming media, decrypt and check it, and write it to `path`.

        At most 120 s. The engine holds the whole file in memory meanwhile.

        Raises:
            DownloadFailed: WhatsApp no longer has the media, a hash differs, or the time is over.
        """

    async def ask(self, question: Question) -> Answer:
        """Ask WhatsApp something, or tell it something that needs no ack. At most 25 s.

        Raises:
            AskFailed: no answer, or a refusal.
        """

    async def log_out(self) -> None:
        """Remove the link at WhatsApp and from the device store; best effort, at most 10 s."""

    async def stop(self) -> None:
        """End the connection, keep the link. Returns when nothing of the engine runs."""


class Engines(Protocol):
    """Factory of engines. `version` is that of the next engine."""

    @property
    def version(self) -> ClientVersion:
        raise NotImplementedError

    async def use(self, library: Path | None) -> None:
        """Load engines that start from now on from this library; None: from the shipped one."""

    async def prepare(self) -> None:
        """Start the engines' shared parts, before the first engine."""

    async def start(
        self,
        session_id: SessionId,
        link: LinkedDevice | None,
        options: EngineOptions = EngineOptions(),
    ) -> Engine:
        """Start a session's engine: with `link` it logs in, without it shows QR codes."""

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of engines that run outside the host's process."""
        raise NotImplementedError

    def extend(self, deadline: float) -> None:
        """Extend the right to act until `deadline` (monotonic clock, seconds).

        Engines end at the deadline, and refuse sends that begin after it.
        """
