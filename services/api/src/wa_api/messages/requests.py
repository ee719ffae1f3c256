"""Requests about existing messages: look up, cancel, resend."""

import asyncio
import re
from collections.abc import Callable
from uuid import UUID

from wa_api.database.notifications import Notifications
from wa_api.messages.views import Message, MessageViews, Sessions
from wa_api.owners.requests import OwnerRequests, OwnerSilent
from wa_contracts.envelope import Envelope
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.commands import CancelMessage, ResendMessage, SessionCommand
from wa_contracts.internal.replies import Reply

LOOK_UP_SECONDS = 2.0
ANSWER_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.25
_WHATSAPP_ID = re.compile(r"[0-9A-F]{12,40}")


class MessageRequests:
    """Look-ups that wait for the projection, and commands about messages.

    Methods raise DatabaseUnavailable; `cancel` and `resend` also BrokerUnavailable,
    ConfirmLost and OwnerRefused.
    """

    def __init__(
        self, *, requests: OwnerRequests, views: MessageViews, notifications: Notifications
    ) -> None:
        self._requests = requests
        self._views = views
        self._notifications = notifications

    async def look_up(self, key: str, sessions: Sessions) -> Message | None:
        """Find a message by either id. Waits up to 2 s for a message that was just accepted."""
        return await self._wait_for(key, sessions, lambda _: True)

    async def look_up_sent(self, key: str, sessions: Sessions) -> Message | None:
        """The same. Waits up to 2 s until the message has WhatsApp's id: it may be just sent."""
        return await self._wait_for(key, sessions, lambda found: found.message_id is not None)

    async def _wait_for(
        self, key: str, sessions: Sessions, is_enough: Callable[[Message], bool]
    ) -> Message | None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + (LOOK_UP_SECONDS if _may_be_new(key) else 0.0)
        with self._notifications.watch() as watch:
            while True:
                message = await self._views.message(key, sessions)
                if message is not None and is_enough(message):
                    return message
                if clock() >= deadline or watch.ended:
                    return message
                await watch.changed(_LOOK_AGAIN_SECONDS)

    async def cancel(self, message: Message) -> Message:
        """Cancel a queued message; return the message afterwards."""
        command = self._requests.command(
            CancelMessage, SessionId(message.session_id), message_id=MessageId(message.id)
        )
        await self._ask(command)
        return await self._views.message(str(message.id), None) or message

    async def resend(self, message: Message, message_id: MessageId) -> bool:
        """Send a failed, unknown or unreadable message again, as the new message `message_id`.

        Returns whether an earlier request made it.
        """
        command = self._requests.command(
            ResendMessage,
            SessionId(message.session_id),
            message_id=message_id,
            resend_of=MessageId(message.id),
        )
        return isinstance(await self._ask(command), Reply)

    async def _ask(self, command: SessionCommand) -> Envelope | Reply | None:
        try:
            answer = await self._requests.ask(command, seconds=ANSWER_SECONDS)
        except OwnerSilent:  # the broker has it: a host will carry it out
            return None
        if isinstance(answer, Envelope):
            await self._requests.projected(answer)
        return answer


def _may_be_new(key: str) -> bool:
    """True if the key has the form of an id that a send returned or an event named."""
    if _WHATSAPP_ID.fullmatch(key):
        return True
    try:
        UUID(key)
    except ValueError:
        return False
    return True
