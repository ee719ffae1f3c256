"""What arrives at a session, as events."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any
from uuid import UUID

from wa_contracts.call_events import CallEnded, CallReceived
from wa_contracts.ids import MessageId
from wa_contracts.message_events import (
    MessageEchoed,
    MessageEdited,
    MessageReacted,
    MessageReceived,
    MessageRevoked,
    MessageVoted,
)
from wa_contracts.session_events import Event
from wa_session_host.domain.observations import (
    UNDECRYPTABLE,
    CallSeen,
    ChangeSeen,
    MessageDetails,
    MessageSeen,
    chat_kind,
)
from wa_session_host.domain.proof import chat_of


def message(message_id: MessageId, seen: MessageSeen) -> MessageReceived:
    """A message that arrived."""
    kind = MessageEchoed if seen.is_own else MessageReceived
    return kind(
        id=message_id,
        message_id=seen.message_id,
        chat=seen.chat,
        sender=seen.sender,
        sender_number=seen.sender_number,
        sender_lid=seen.sender_lid,
        type=seen.kind,
        text=seen.text,
        media_mime_type=seen.media.mime_type if seen.media else None,
        media_size=seen.media.size if seen.media else None,
        file_name=seen.media.file_name if seen.media else None,
        quoted_message_id=seen.quoted_message_id,
        is_group=seen.is_group,
        received_at=seen.at,
        **dict(seen.details),
    )


def change(target: MessageId, seen: ChangeSeen, options: tuple[str, ...] | None) -> Event:
    """What somebody did to a message. `options` are those that a vote names."""
    about: dict[str, Any] = {
        "id": target,
        "message_id": seen.of,
        "chat": seen.chat,
        "sender": seen.sender,
        "sender_number": seen.sender_number,
        "sender_lid": seen.sender_lid,
        "sender_name": seen.sender_name,
        "from_me": seen.is_own,
    }
    match seen.change:
        case "reacted":
            return MessageReacted(**about, emoji=seen.text or "", reacted_at=seen.at)
        case "voted":
            return MessageVoted(**about, options=options, voted_at=seen.at)
        case "edited":
            return MessageEdited(**about, text=seen.text, edited_at=seen.at)
        case "revoked":
            return MessageRevoked(**about, revoked_at=seen.at)


def call(call_id: UUID, seen: CallSeen) -> Event:
    """A call that rings, or has ended."""
    about: dict[str, Any] = {
        "id": call_id,
        "call_id": seen.call_id,
        "caller": seen.caller,
        "caller_number": seen.caller_number,
        "caller_lid": seen.caller_lid,
    }
    if seen.has_ended:
        return CallEnded(**about, reason=seen.reason, ended_at=seen.at)
    return CallReceived(
        **about, is_video=seen.is_video, is_group=seen.is_group, received_at=seen.at
    )


def waits_for_content(event: Event) -> bool:
    """Whether a message was reported that could not be decrypted; its content may still come."""
    return isinstance(event, MessageReceived) and event.type == UNDECRYPTABLE


def chosen(seen: ChangeSeen, options: Iterable[str]) -> tuple[str, ...] | None:
    """The options that a vote names by their hashes; None if one is unknown."""
    if seen.chosen is None:
        return None
    known = {sha256(one.encode()).hexdigest(): one for one in options}
    named = tuple(known[one] for one in seen.chosen if one in known)
    return named if len(named) == len(seen.chosen) else None


def is_author(seen: ChangeSeen, of: MessageReceived) -> bool:
    """Whether who changes a message wrote it."""
    return bool(addresses(seen) & addresses(of)) and seen.is_own == isinstance(of, MessageEchoed)


def addresses(person: ChangeSeen | MessageReceived) -> set[str]:
    """The JIDs of who sent this, as far as they are known."""
    number = person.sender_number and chat_of(person.sender_number)
    return {one for one in (person.sender, person.sender_lid, number) if one}


def without_right(seen: ChangeSeen) -> MessageSeen:
    """A change of somebody else's message, which phones ignore, told as what it is."""
    server = seen.chat.rpartition("@")[2]
    return MessageSeen(
        message_id=seen.stanza_id,
        chat=seen.chat,
        sender=seen.sender,
        sender_number=seen.sender_number,
        sender_lid=seen.sender_lid,
        kind="unsupported",
        text=None,
        media=None,
        quoted_message_id=seen.of,
        is_group=server == "g.us",
        at=seen.at,
        is_own=seen.is_own,
        details=MessageDetails(
            sender_name=seen.sender_name,
            chat_kind=chat_kind(server),
            unsupported=f"{seen.change} somebody else's message",
        ),
    )
