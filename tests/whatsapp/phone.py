"""The phone of an account that the product uses: links companions, and fails them on request."""

import zlib

from tests.whatsapp.accounts import Companion
from tests.whatsapp.contact import Contact
from tests.whatsapp.nodes import Jid
from tests.whatsapp.outbox import Draft
from tests.whatsapp.protobufs import HistorySync, Message
from tests.whatsapp.reception import DEVICE_REMOVED, REPLACED
from tests.whatsapp.refusals import LoginRefusal

_WAIT_SECONDS = 60.0


class Phone(Contact):
    """An account's phone: links companions, and makes the server fail them.

    Everything about "the companion" is about the one that was linked last. A phone is a contact
    too: it receives, and gets a copy of what its companions send.
    """

    @property
    def is_linked(self) -> bool:
        """Whether any companion is linked to this account."""
        return self._account.latest_companion is not None

    @property
    def connected(self) -> bool:
        """Whether the companion is logged in now."""
        companion = self._account.latest_companion
        return companion is not None and companion.link is not None

    async def scan(self, qr_text: str) -> None:
        """Link the companion that shows this QR code, as a person does with the camera.

        Raises QRInvalid if no client shows it now, PairingRefused if the client objects.
        """
        await self._network.pairing.scan(self._account, qr_text)
        self._network.changes.announce()

    async def scan_with_passkey(self, qr_text: str) -> None:
        """Scan this QR code with an account for which WhatsApp demands a passkey."""
        await self._network.pairing.demand_passkey(qr_text)

    async def scan_without_multidevice(self, qr_text: str) -> None:
        """Scan this QR code with a phone that cannot link devices of this kind."""
        await self._network.pairing.downgrade(qr_text)

    async def enter_pairing_code(self, code: str) -> None:
        """Link the companion that shows this code, typed with or without its hyphen.

        Raises PairingCodeInvalid if none of this number shows it, PairingRefused if the client
        objects.
        """
        await self._network.link_codes.enter(self._account, code)
        self._network.changes.announce()

    async def wait_connected(self, timeout: float = _WAIT_SECONDS) -> None:
        """Return once the companion is logged in; raises TimeoutError after `timeout` seconds."""
        await self._network.changes.until(
            lambda: self.connected, timeout, f"the login of {self.number}"
        )

    async def wait_disconnected(self, timeout: float = _WAIT_SECONDS) -> None:
        """Return once no companion is logged in; raises TimeoutError after `timeout` seconds."""
        await self._network.changes.until(
            lambda: not self.connected, timeout, f"the disconnection of {self.number}"
        )

    async def write(self, to: str, message: Message) -> str:
        """The owner writes to the number `to` on the phone: its companions get a copy."""
        recipient = self._network.directory.find(Jid(to))
        if recipient is None:
            raise LookupError(f"{to} is not on WhatsApp")
        copy = Message()
        copy.deviceSentMessage.destinationJID = str(recipient.lid_jid)
        copy.deviceSentMessage.message.CopyFrom(message)
        draft = Draft(copy.SerializeToString(), own_copy_for=recipient)
        await self._account.outbox.send(self._account, draft)
        return draft.id

    async def send_history(self, history: HistorySync) -> str:
        """Hand a piece of its history to its companions, as a phone does after linking."""
        packed = zlib.compress(history.SerializeToString(), level=1)
        media = self._network.media.put("history", packed)
        message = Message()
        message.protocolMessage.type = message.protocolMessage.HISTORY_SYNC_NOTIFICATION
        notification = message.protocolMessage.historySyncNotification
        notification.syncType = history.syncType
        notification.directPath = media.direct_path
        notification.mediaKey = media.media_key
        notification.fileSHA256 = media.sha256
        notification.fileEncSHA256 = media.encrypted_sha256
        notification.fileLength = media.length
        draft = Draft(message.SerializeToString())
        await self._account.outbox.send(self._account, draft)
        return draft.id

    async def drop(self) -> None:
        """Break the companion's connection without a word."""
        link = self._companion().link
        if link is not None:
            link.abort()
            await self._network.changes.until(
                lambda: self._companion().link is not link,
                _WAIT_SECONDS,
                "the broken connection",
            )

    async def replace(self) -> None:
        """Tell the companion that the same device has logged in elsewhere."""
        link = self._companion().link
        if link is not None:
            await link.end(REPLACED)

    async def unlink(self) -> None:
        """Remove the companion from the account, and tell it if it is there."""
        companion = self._companion()
        del self._account.companions[companion.device]
        if companion.link is not None:
            await companion.link.end(DEVICE_REMOVED)
        self._network.changes.announce()

    def refuse_login(self, reason: int | LoginRefusal, **attributes: str | int) -> None:
        """Answer every login with `<failure>` until `allow_login`.

        A temporary ban is reason 402 with `code` and `expire` (seconds). Who is connected stays.
        """
        if isinstance(reason, int):
            texts = tuple((name, str(value)) for name, value in attributes.items())
            reason = LoginRefusal(reason, texts)
        self._account.faults.login_refusal = reason

    def allow_login(self) -> None:
        """Let companions log in again."""
        self._account.faults.login_refusal = None

    def refuse_messages(self, error: int) -> None:
        """Refuse every message with that error in its ack, until `accept_messages`."""
        self._account.faults.message_error = error

    def accept_messages(self) -> None:
        """Take messages again."""
        self._account.faults.message_error = None

    def hold_acks(self) -> None:
        """Take and pass on messages, but acknowledge none, until `release_acks`."""
        self._account.faults.holds_acks = True

    def release_acks(self) -> None:
        """Acknowledge again, and send what was held back to the companion if it is connected."""
        faults = self._account.faults
        faults.holds_acks = False
        held, faults.held_acks = faults.held_acks, []
        link = self._companion().link
        if link is not None:
            for ack in held:
                link.send_soon(ack)

    def forget_acks(self) -> None:
        """Acknowledge again, but never what was held back: those acks are lost."""
        self._account.faults.holds_acks = False
        self._account.faults.held_acks.clear()

    def mute(self) -> None:
        """Answer nothing and hear nothing, with the connection open, until `unmute`."""
        self._set_muted(True)

    def unmute(self) -> None:
        """Hear and answer again. What was said meanwhile is lost."""
        self._set_muted(False)

    def _set_muted(self, muted: bool) -> None:
        self._account.faults.is_muted = muted
        for companion in self._account.companions.values():
            if companion.link is not None:
                companion.link.is_muted = muted

    def _companion(self) -> Companion:
        companion = self._account.latest_companion
        if companion is None:
            raise LookupError(f"no companion is linked to {self.number}")
        return companion
