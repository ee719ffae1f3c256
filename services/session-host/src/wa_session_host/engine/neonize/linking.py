"""Linking of one attempt: QR codes, login statuses and the pairing's end become observations.

Source: whatsmeow, qrchan.go (statuses, lives of the codes) and events.go (numbers of refusals).
"""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from neonize.proto import Neonize_pb2 as proto

from wa_session_host.domain.observations import (
    ClientOutdated,
    ClientVersion,
    EngineCrashed,
    EngineRefused,
    LinkedDevice,
    QRRanOut,
    QRShown,
    Seen,
)
from wa_session_host.engine.neonize.engine_log import EngineLog
from wa_session_host.engine.neonize.translation import format_jid
from wa_session_host.engine.port import PairingUnavailable

FIRST_QR = timedelta(seconds=60)
LATER_QR = timedelta(seconds=20)
QR_CODES = 6
ATTEMPT = FIRST_QR + (QR_CODES - 1) * LATER_QR
"""Time from the first code to the end of the connection, and of every pairing code with it."""
EARLY_SECONDS = 5.0
"""A connection that ends earlier than this before the attempt's end was lost."""


class Linking:
    """The linking of one session, for one attempt. `is_shown` is set by the first QR code."""

    def __init__(self, version: ClientVersion, log: EngineLog) -> None:
        self.is_shown = asyncio.Event()
        self._version = version
        self._log = log
        self._shown: QRShown | None = None
        self._problem: str | None = None
        self._began = 0.0

    @property
    def ends_at(self) -> datetime:
        """End of the attempt, whose first code was shown."""
        left = self._began + ATTEMPT.total_seconds() - time.monotonic()
        return datetime.now(UTC) + timedelta(seconds=left)

    def qr(self, text: str) -> tuple[Seen, ...]:
        if self._shown is None:
            self._began = time.monotonic()
        life = FIRST_QR if self._shown is None else LATER_QR
        self._shown = QRShown(text, datetime.now(UTC) + life, self._problem)
        self.is_shown.set()
        return (self._shown,)

    def status(self, status: bytes) -> tuple[Seen, ...]:
        """A login status of the engine."""
        match status:
            case b"timeout":
                return (self._ended(),)
            case b"passkey-request" | b"passkey-confirmation":
                return (_passkey_required(),)
            case b"err-client-outdated":
                return (ClientOutdated(self._version),)
            case b"err-scanned-without-multidevice":
                return self._scanned_in_vain("no_multidevice")
            case b"err-unexpected-state":
                return (self._refused(),)
            case b"error":
                return (self._not_paired(self._log.pairing_error),)
            case _ if status.startswith(b"err"):
                said = status.decode(errors="replace")
                return (EngineRefused("pairing_failed", f"The engine reports {said}."),)
            case _:
                return ()

    def paired(self, event: proto.PairStatus) -> tuple[Seen, ...]:
        """The pairing's end: a LinkedDevice, or a refusal."""
        if event.Status != proto.PairStatus.SUCCESS:
            return (self._not_paired(event.Error),)
        return (LinkedDevice(jid=format_jid(event.ID), phone_number=event.ID.User),)

    def _scanned_in_vain(self, problem: str) -> tuple[Seen, ...]:
        """The codes stay good, and say what was wrong."""
        self._problem = problem
        if self._shown is None:
            return ()
        self._shown = replace(self._shown, problem=problem)
        return (self._shown,)

    def _ended(self) -> QRRanOut | EngineCrashed:
        """The connection ended: codes ran out, or it was lost. Only the time tells."""
        if self._log.code in {"500", "503"}:
            message = f"WhatsApp is not available now ({self._log.code})."
            return EngineCrashed("whatsapp_unavailable", message)
        left = (self.ends_at - datetime.now(UTC)).total_seconds()
        if self._shown is None or left > EARLY_SECONDS:
            return EngineCrashed("linking_interrupted", "The connection was lost while linking.")
        return QRRanOut()

    def _refused(self) -> EngineRefused:
        """WhatsApp's `<failure>` to a device that is not linked."""
        code, words = self._log.code, self._log.words
        match code:
            case "401":
                return EngineRefused("linking_unauthorized", words or "WhatsApp answers 401.")
            case "402":
                expire = self._log.failure.get("expire", "")
                pause = f" for {int(expire) // 60} minutes" if expire.isdigit() else ""
                return EngineRefused("linking_restricted", words or f"WhatsApp answers 402{pause}.")
            case "403":
                return EngineRefused("linking_locked", words or "WhatsApp answers 403.")
            case "406":
                return EngineRefused("linking_banned", words or "WhatsApp answers 406.")
            case "409":
                return EngineRefused("linking_client_rejected", words or "WhatsApp answers 409.")
            case _:
                said = f"WhatsApp answers {code}." if code else "The engine was connected already."
                return EngineRefused("linking_refused", words or said)

    def _not_paired(self, error: str) -> EngineRefused:
        """The phone scanned, and the link failed then."""
        if not error:  # not a pairing's end: only passkey notifications come with this status
            return _passkey_required()
        if "HMAC" in error or "hmac" in error:
            return EngineRefused("stale_code", "The phone scanned a code that is not the last one.")
        return EngineRefused("pairing_failed", f"The phone's answer was not accepted: {error}.")


def _passkey_required() -> EngineRefused:
    return EngineRefused("passkey_required", "WhatsApp demands a passkey to link this number.")


def pairing_refusal(error: str) -> PairingUnavailable:
    """Why WhatsApp gave no pairing code, by the engine's error text."""
    told = {
        "429": "WhatsApp gives this number no more pairing codes for now. Scan the QR code, or wait.",
        "400": "WhatsApp refuses this phone number. Check country code and digits.",
        "too short": "WhatsApp refuses this phone number. Check country code and digits.",
        "international": "WhatsApp refuses this phone number. Check country code and digits.",
        "403": "WhatsApp forbids to link this number by a code. Scan the QR code.",
        "404": "This phone number is not on WhatsApp.",
        "timed out": "WhatsApp did not answer. Try again.",
    }
    sentence = next((one for mark, one in told.items() if mark in error), None)
    return PairingUnavailable(sentence or f"WhatsApp gave no pairing code: {error}.")
