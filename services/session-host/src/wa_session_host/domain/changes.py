"""What an acknowledged edit or revoke did to the message that it changed."""

from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.content import Parts
from wa_contracts.message_events import MessageEdited, MessageRevoked, MessageSent
from wa_contracts.session_events import Event
from wa_session_host.domain.proof import chat_of


def changes_by(parts: Parts | None, outcome: Event) -> tuple[Event, ...]:
    """The events about the changed message; () if the outcome changes none."""
    change = None if parts is None else parts.change
    if change is None or not isinstance(outcome, MessageSent):
        return ()
    chat = chat_of(outcome.to)
    number = change.number
    about = {
        "id": change.of.id,
        "message_id": change.of.message_id,
        "chat": chat,
        "sender": chat if number is None else chat_of(number),
        "sender_number": number,
        "from_me": True,
    }
    if outcome.type is MessageType.EDIT:
        return (MessageEdited(**about, text=None, edited_at=outcome.sent_at),)
    return (MessageRevoked(**about, revoked_at=outcome.sent_at),)
