"""Edits and deletions of messages that were sent: each is a send of its own kind."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

from wa_api.http.problems import Problem
from wa_api.messages.parts import reference_to
from wa_api.messages.sending import Sending, SendOptions, SendResult
from wa_api.messages.views import Message
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import MessageType, SendMessage
from wa_contracts.internal.content import Change, Parts

EDIT_WINDOW = timedelta(minutes=15)
"""How long after its send WhatsApp lets a message be edited."""
EDITABLE = frozenset({"text", "image", "video", "document"})


class MessageChanges:
    """Builds the commands, and sends them like any message: durable, once, in order.

    Methods raise BrokerUnavailable, and Problem with 409 for a message that cannot be changed.
    """

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    async def edit(self, message: Message, text: str, options: SendOptions) -> SendResult:
        """Replace the text or the caption of a sent message.

        Too late, it fails with `edit_window_over`; waiting in the queue counts.
        """
        if message.direction != "outgoing" or message.type not in EDITABLE:
            raise Problem("not_editable", "Only a text or caption that was sent can be edited.")
        change = _change(message, "not_editable", options)
        command = self._command(message, MessageType.EDIT, change, options, text=text)
        assert message.sent_at is not None
        over = message.sent_at + EDIT_WINDOW
        expires_at = min(command.expires_at, over)
        command = command.model_copy(update={"expires_at": expires_at})
        return await self._sending.perform(command, options)

    async def revoke(self, message: Message, options: SendOptions) -> SendResult:
        """Delete a message for everyone: a sent one, or as a group's admin one of the group."""
        if message.direction == "incoming" and not message.to.endswith("@g.us"):
            raise Problem("not_revocable", "Only its sender can delete a message of a direct chat.")
        change = _change(message, "not_revocable", options)
        command = self._command(message, MessageType.REVOKE, change, options)
        return await self._sending.perform(command, options)

    def _command(
        self,
        message: Message,
        kind: MessageType,
        change: Change,
        options: SendOptions,
        *,
        text: str | None = None,
    ) -> SendMessage:
        if options.idempotency_key is not None:  # another key than that of a send
            options = replace(options, idempotency_key=f"{kind}\n{options.idempotency_key}")
        content: dict[str, Any] = {"text": text, "parts": Parts(change=change)}
        told = f"{kind} 1\n{message.id}\n{text or ''}"
        return self._sending.command(
            SessionId(message.session_id),
            options,
            to=message.to,
            message_type=kind,
            reference=message.reference,
            fingerprint=hashlib.sha256(told.encode()).hexdigest(),
            **content,
        )


def _change(message: Message, code: str, options: SendOptions) -> Change:
    if message.message_id is None:
        raise Problem(code, "WhatsApp does not know this message: it was not sent yet.")
    if message.revoked_at is not None and options.idempotency_key is None:  # else a repeat
        raise Problem(code, "The message is deleted already.")
    if message.type in {MessageType.EDIT, MessageType.REVOKE}:
        raise Problem(code, "This is a change of a message: name the message itself.")
    return Change(of=reference_to(message, message.message_id), of_type=message.type)
