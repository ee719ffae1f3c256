"""Linking of one attempt: QR codes, login statuses and the pairing's end become observations."""

import asyncio
from datetime import UTC, datetime, timedelta

from neonize.proto import Neonize_pb2 as proto

from wa_session_host.domain.observations import (
    ClientOutdated,
    ClientVersion,
    EngineRefused,
    LinkedDevice,
    QRRanOut,
    QRShown,
    Seen,
)
from wa_session_host.engine.neonize.translation import format_jid

FIRST_QR = timedelta(seconds=60)
LATER_QR = timedelta(seconds=20)


class Linking:
    """The linking of one session, for one attempt. `is_shown` is set by the first QR code."""

    def __init__(self, version: ClientVersion) -> None:
        self.is_shown = asyncio.Event()
        self._version = version

    def qr(self, text: str) -> tuple[Seen, ...]:
        life = LATER_QR if self.is_shown.is_set() else FIRST_QR
        self.is_shown.set()
        return (QRShown(text, datetime.now(UTC) + life),)

    def status(self, status: bytes) -> tuple[Seen, ...]:
        """A login status of the engine. Source: whatsmeow, qrchan.go."""
        if status == b"timeout":
            return (QRRanOut(),)
        if status == b"err-client-outdated":
            return (ClientOutdated(self._version),)
        if status.startswith(b"err"):
            return (EngineRefused("pairing_failed", "WhatsApp refused to link this device."),)
        return ()

    def paired(self, event: proto.PairStatus) -> tuple[Seen, ...]:
        """The pairing's end: a LinkedDevice, or a refusal."""
        if event.Status != proto.PairStatus.SUCCESS:
            message = event.Error or "WhatsApp refused to link this device."
            return (EngineRefused("pairing_failed", message),)
        return (LinkedDevice(jid=format_jid(event.ID), phone_number=event.ID.User),)
