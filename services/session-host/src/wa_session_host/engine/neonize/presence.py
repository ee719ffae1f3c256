"""Tells WhatsApp once after each login whether the session counts as available.

The engine sends its name with it, without which other people see none. It refuses until the phone
has told the name, seconds to minutes after the link. Source: whatsmeow, presence.go.
"""

import asyncio
from typing import Any

from neonize.exc import SendPresenceError
from neonize.utils.enum import Presence as EnginePresence

from wa_contracts.session_options import Presence

RETRY_SECONDS = 30


async def announce(client: Any, presence: Presence) -> None:
    """Send the presence; try again until the engine takes it."""
    while True:
        try:
            await client.send_presence(EnginePresence(presence.encode()))
        except SendPresenceError:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
