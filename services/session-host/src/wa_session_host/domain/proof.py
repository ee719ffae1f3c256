"""When a receipt proves that a message with an unknown outcome was sent after all."""

import re
from collections.abc import Iterable
from datetime import timedelta

from wa_contracts.message_events import MessageSent
from wa_session_host.domain.message import Unknown, sent
from wa_session_host.domain.observations import ReceiptSeen

ENGINE_ID = re.compile(r"3EB0[0-9A-F]{18}")
"""The form of the ids that our engine gives. Source: whatsmeow, GenerateMessageID."""
RECEIPT_PRECISION = timedelta(seconds=1)
"""WhatsApp's receipts carry whole seconds."""


def proven(
    receipt: ReceiptSeen, strangers: tuple[str, ...], candidates: Iterable[Unknown]
) -> tuple[Unknown, MessageSent] | None:
    """The one message that a receipt proves as sent, with the event that says so; None if any doubt.

    `strangers` are the receipt's ids that belong to no message we know. The recipient can only
    have what was sent: if the id has the form of our engine's and just one message of that chat
    can be meant, it is that one. Its `sent_at` is when its send began: the ack was never seen.
    """
    if len(strangers) != 1 or not ENGINE_ID.fullmatch(strangers[0]):
        return None
    meant = [
        one
        for one in candidates
        if chat_of(one.facts.to) in receipt.chats
        and one.started_at < receipt.at + RECEIPT_PRECISION
    ]
    if len(meant) != 1:
        return None
    return meant[0], sent(meant[0].facts, strangers[0], meant[0].started_at)


def chat_of(to: str) -> str:
    """The chat that a recipient, a number or a JID, belongs to."""
    return to if "@" in to else f"{to}@s.whatsapp.net"
