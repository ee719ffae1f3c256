"""Receipts as proof that a message with an unknown outcome was sent."""

import re
from collections.abc import Iterable
from datetime import timedelta

from wa_contracts.message_events import MessageSent
from wa_session_host.domain.message import Unknown, sent
from wa_session_host.domain.observations import ReceiptSeen

ENGINE_ID = re.compile(r"3EB0[0-9A-F]{18}")
"""Form of our engine's message ids. Source: whatsmeow, GenerateMessageID."""
RECEIPT_PRECISION = timedelta(seconds=1)
"""Resolution of WhatsApp's receipts."""


def proven(
    receipt: ReceiptSeen, unknown_ids: tuple[str, ...], candidates: Iterable[Unknown]
) -> tuple[Unknown, MessageSent] | None:
    """The one message that a receipt proves as sent, with its event; None in any doubt.

    `unknown_ids` are the receipt's ids of no known message. A recipient acknowledges sent messages
    only. The proof needs an id in our engine's form and exactly one candidate in that chat.
    `sent_at` is the start of the send: the ack was never seen.
    """
    if len(unknown_ids) != 1 or not ENGINE_ID.fullmatch(unknown_ids[0]):
        return None
    meant = [
        one
        for one in candidates
        if chat_of(one.facts.to) in receipt.chats
        and one.started_at < receipt.at + RECEIPT_PRECISION
    ]
    if len(meant) != 1:
        return None
    return meant[0], sent(meant[0].facts, unknown_ids[0], meant[0].started_at)


def chat_of(to: str) -> str:
    """The chat of a recipient, given as a number or a JID."""
    return to if "@" in to else f"{to}@s.whatsapp.net"
