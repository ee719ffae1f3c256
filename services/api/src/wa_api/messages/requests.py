"""What can be asked about a message that exists: look it up, cancel it, send it again."""

import asyncio
import re
from uuid import UUID

from wa_api.database.notifications import Notifications
from wa_api.messages.views import Message, MessageViews
from wa_api.owners.command_bus import ConfirmLost
from wa_api.owners.requests import OwnerRequests, OwnerSilent
from wa_contracts.envelope import Envelope
from wa_contracts.ids import MessageId, SessionId, new_id
from wa_contracts.internal.commands import CancelMessage, ResendMessage, SessionCommand

LOOK_UP_SECONDS = 2.0
ANSWER_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.25
_WHATSAPP_ID = re.compile(r"3EB0[0-9A-F]{8,36}")


class MessageRequests:
    """Look-ups that wait a little, and commands about messages.

    Every method raises DatabaseUnavailable; cancel and resend also BrokerUnavailable and OwnerRefused.
    """

    def __init__(
        self, *, requests: OwnerRequests, views: MessageViews, notifications: Notifications
    ) -> None:
        self._requests = requests
        self._views = views
        self._notifications = notifications

    async def look_up(self, key: str, session_id: UUID | None) -> Message | None:
        """A message by either id; one that was answered just now is waited for, 2 s at most."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + (LOOK_UP_SECONDS if _may_be_new(key) else 0.0)
        with self._notifications.watch() as watch:
            message = await self._views.message(key, session_id)
            while message is None and clock() < deadline and not watch.ended:
                await watch.changed(_LOOK_AGAIN_SECONDS)
                message = await self._views.message(key, session_id)
        return message

    async def cancel(self, message: Message) -> Message:
        """Cancel a queued message; the message as it is after that."""
        command = self._requests.command(
            CancelMessage, SessionId(message.session_id), message_id=MessageId(message.id)
        )
        await self._ask(command)
        return await self._views.message(str(message.id), None) or message

    async def resend(self, message: Message) -> MessageId:
        """Send a failed or unknown message again; the id of the new message."""
        message_id = MessageId(new_id())
        command = self._requests.command(
            ResendMessage,
            SessionId(message.session_id),
            message_id=message_id,
            resend_of=MessageId(message.id),
        )
        await self._ask(command)
        return message_id

    async def _ask(self, command: SessionCommand) -> None:
        try:
            answer = await self._requests.ask(command, seconds=ANSWER_SECONDS)
        except (OwnerSilent, ConfirmLost):
            return
        if isinstance(answer, Envelope):
            await self._requests.projected(answer)


def _may_be_new(key: str) -> bool:
    """Whether it has the form of an id that sends are answered with: ours or WhatsApp's."""
    if _WHATSAPP_ID.fullmatch(key):
        return True
    try:
        UUID(key)
    except ValueError:
        return False
    return True
