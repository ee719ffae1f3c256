"""Recipients' devices that a message left out, by the engine's warnings.

If WhatsApp gives no keys for a device, the engine leaves the device out, sends the rest (at least the
copy for the own phone) and reports success. Source: whatsmeow, send.go, `encryptMessageForDevices`.
"""

import re
from collections import deque
from typing import Any

from wa_session_host.engine.neonize.translation import format_jid, parse_jid

NO_KEYS = (
    "WhatsApp gave no keys to encrypt for the recipient's phone: the phone did not get the "
    "message. Send it again."
)
_WARNING = re.compile(r"Failed to encrypt (\S+) for (\S+@[a-z.]+): ")
_KEPT = 256


class LeftOut:
    """The latest devices that were left out."""

    def __init__(self) -> None:
        self._devices: deque[tuple[str, str]] = deque(maxlen=_KEPT)

    def read(self, warning: str) -> None:
        """Read a warning of the engine; it comes before the send returns."""
        if found := _WARNING.match(warning):
            self._devices.append((found[1], found[2]))

    async def has_phone_of(self, chat: str, message_id: str, client: Any) -> bool:
        """Whether the message left out a person's phone, not just a linked device of theirs.

        A group's members ask for theirs again.
        """
        phones = {
            device for one, device in list(self._devices) if one == message_id and ":" not in device
        }
        if not phones or chat.endswith("@g.us"):
            return False
        if chat in phones or not chat.endswith("@s.whatsapp.net"):
            return chat in phones
        return format_jid(await client.get_lid_from_pn(parse_jid(chat))) in phones
