"""The parts of a send for its command; ids of other messages become WhatsApp's."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from uuid import UUID

from wa_api.http import problems
from wa_api.messages.content import ALL
from wa_api.messages.send_request import SendRequest
from wa_api.messages.views import Message, Sessions
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.content import MessageReference, Parts, Quote, Reaction

LookUp: TypeAlias = Callable[[str, Sessions], Awaitable[Message | None]]
"""Finds a message by either id. Waits a moment for one that was just sent or arrived."""


async def parts_of_send(
    request: SendRequest, look_up: LookUp, session_id: SessionId
) -> Parts | None:
    """What the message consists of beside text and media; None if there is nothing.

    Raises:
        Problem: 404 for a message that the session does not know.
        DatabaseUnavailable: a message cannot be looked up.
    """
    content: dict[str, Any] = {}
    match request.type:
        case MessageType.LOCATION if request.location is not None:
            content["location"] = request.location.stored()
        case MessageType.CONTACT if request.contacts is not None:
            content["contacts"] = tuple(one.stored() for one in request.contacts)
        case MessageType.POLL if request.poll is not None:
            content["poll"] = request.poll.stored()
        case MessageType.REACTION if request.reaction is not None:
            on = await _known(request.reaction.message_id, look_up, session_id)
            content["reaction"] = Reaction(on=on, emoji=request.reaction.emoji)
    if request.mentions:
        content["mentions"] = tuple(one for one in request.mentions if one != ALL)
        content["mention_all"] = ALL in request.mentions
    if request.link_preview and request.type is MessageType.TEXT:
        content["link_preview"] = True
    if request.view_once:
        content["view_once"] = True
    quote = await _quote(request, look_up, session_id)
    return Parts(**content, quote=quote) if content or quote else None


async def _quote(request: SendRequest, look_up: LookUp, session_id: SessionId) -> Quote | None:
    if request.reply_to is None:
        return None
    if (described := request.reply_to.stored()) is not None:
        return described
    return Quote(of=await _known(request.reply_to.message_id, look_up, session_id))


async def _known(key: str, look_up: LookUp, session_id: UUID) -> MessageReference:
    """A message of the session that WhatsApp knows."""
    message = await look_up(key, {session_id})
    if message is None:
        raise problems.not_found("message")
    if message.message_id is None:
        raise problems.Problem(
            "message_not_found", "WhatsApp does not know this message: it was not sent yet."
        )
    return reference_to(message, message.message_id)


def reference_to(message: Message, whatsapp_id: str) -> MessageReference:
    """The reference to a message of the session, with its sender's JID if it came in."""
    sender = message.sender
    if sender is not None and "@" not in sender:
        sender = f"{sender}@s.whatsapp.net"
    return MessageReference(message_id=whatsapp_id, sender=sender, id=MessageId(message.id))
