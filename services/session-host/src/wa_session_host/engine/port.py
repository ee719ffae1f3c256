"""The port between a session and its connection to WhatsApp, whichever engine makes it.

An engine is one session's connection for one attempt. It tells what it sees as observations, in
order, and does what it is asked. It never starts again by itself after it ended: the session does.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.replies import PairingCode
from wa_session_host.domain.observations import LinkedDevice, ReceivedMedia, Seen


@dataclass(frozen=True)
class Preview:
    """What is shown of a picture before it is downloaded. `thumbnail` is base64 of a small JPEG."""

    width: int
    height: int
    thumbnail: str


@dataclass(frozen=True)
class MediaFile:
    """Media ready to send: a file that the engine only reads."""

    path: Path
    mime_type: str
    file_name: str | None
    preview: Preview | None = None


@dataclass(frozen=True)
class OutgoingMessage:
    """One message for the engine. `media` is None for text."""

    to: str
    type: MessageType
    text: str | None
    media: MediaFile | None


@dataclass(frozen=True)
class Acknowledged:
    """WhatsApp's server has the message, under its own id.

    `number` is the recipient's in digits, as WhatsApp writes it; None where it was not asked
    (groups, JIDs that hide the number) or told only such a JID.
    """

    message_id: str
    at: datetime
    number: str | None = None


class NotSent(Exception):
    """The message certainly did not go out; it may be sent later."""


class SendRefused(Exception):
    """The message certainly did not go out and never will. `code` says why."""

    def __init__(self, code: str, message: str) -> None:
        """`code` for programs, `message` for people."""
        super().__init__(message)
        self.code = code


class OutcomeUnknown(Exception):
    """The message may have gone out. Nobody can know."""


class PairingUnavailable(Exception):
    """There is no pairing to be had now: the session is linked, or WhatsApp refused."""


class DownloadFailed(Exception):
    """The media could not be had. `code` is `media_gone` (for good) or `media_unavailable`."""

    def __init__(self, code: str, message: str) -> None:
        """`code` for programs, `message` for people."""
        super().__init__(message)
        self.code = code


class Engine(Protocol):
    """One session's connection, for one attempt."""

    def observations(self) -> AsyncIterator[Seen]:
        """What the engine sees, in order; ends when the engine has ended. One reader."""

    async def send(self, message: OutgoingMessage) -> Acknowledged:
        """Send one message and wait for the server's ack, at most 75 s.

        Before the first message to a number WhatsApp is asked whose it is, and the message goes to
        the account that it names: its number may be written otherwise (Brazil's ninth digit).

        Raises:
            NotSent: not connected, or the lease does not cover a send: send it later.
            Refused: for good, for example `not_on_whatsapp`.
            OutcomeUnknown: no ack came, or the engine ended meanwhile.

        Source: whatsmeow's send request timeout.
        """

    async def pairing_code(self, phone_number: str) -> PairingCode:
        """A code that links the phone with this number.

        Raises:
            PairingUnavailable: with a sentence that says why.
        """

    async def download(self, media: ReceivedMedia, path: Path) -> None:
        """Download media that arrived and save it, decrypted and checked, as the file `path`.

        At most 120 s. The whole of it is in the engine's memory meanwhile.

        Raises:
            DownloadFailed: WhatsApp has it no more, it is not what was sent, or nothing came in time.
        """

    async def log_out(self) -> None:
        """Remove the link at WhatsApp and from the device store; best effort, at most 10 s."""

    async def stop(self) -> None:
        """End the connection, keep the link. Returns when nothing of the engine runs any more."""


class Engines(Protocol):
    """Where engines come from."""

    async def prepare(self) -> None:
        """Start what all engines share, before the first of them."""

    async def start(self, session_id: SessionId, link: LinkedDevice | None) -> Engine:
        """Start a session's engine: with `link` it logs in, without it shows QR codes."""

    @property
    def worker_pids(self) -> list[int]:
        """The processes in which engines run, where they do not run in the host's."""
        raise NotImplementedError

    def extend(self, deadline: float) -> None:
        """The right to act lasts until `deadline` (monotonic clock, seconds).

        Engines end by themselves then, and refuse sends that begin after it.
        """
