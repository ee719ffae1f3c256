"""Other messages that a command names: what WhatsApp needs to know of them, from the store."""

from wa_contracts.ids import MessageId, SessionId, message_stream
from wa_contracts.internal.commands import SendMessage
from wa_contracts.internal.content import MessageReference, Parts
from wa_contracts.message_events import MessageReceived
from wa_session_host.domain.session import State, link_of
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.stored_event import StoredEvent, quotable_text


async def received(
    store: EventStore, session_id: SessionId, message_id: MessageId
) -> MessageReceived | None:
    """The event of an incoming message of this session; None if there is none."""
    return _received(await _named(store, session_id, message_id))


async def named_parts(command: SendMessage, state: State, store: EventStore) -> Parts | None:
    """The command's parts, with sender and text of the message that they name.

    `state` is the session's: a change tells its number.
    """
    parts, of_session = command.parts, command.session_id
    if parts is None:
        return None
    if (change := parts.change) is not None and change.of.id is not None:
        of = _with_sender(change.of, await _named(store, of_session, change.of.id))
        link = link_of(state)
        change = change.model_copy(update={"of": of, "number": link and link.phone_number})
        return parts.model_copy(update={"change": change})
    if (quote := parts.quote) is not None and quote.of.id is not None:
        found = await _named(store, of_session, quote.of.id)
        of = _with_sender(quote.of, found)
        quote = quote.model_copy(update={"of": of, "text": quotable_text(found)})
        return parts.model_copy(update={"quote": quote})
    if (reaction := parts.reaction) is not None and reaction.on.id is not None:
        on = _with_sender(reaction.on, await _named(store, of_session, reaction.on.id))
        reaction = reaction.model_copy(update={"on": on})
        return parts.model_copy(update={"reaction": reaction})
    return parts


async def _named(
    store: EventStore, session_id: SessionId, message_id: MessageId
) -> list[StoredEvent]:
    events = await store.stream(message_stream(message_id))
    return [one for one in events if one.session_id == session_id]


def _received(events: list[StoredEvent]) -> MessageReceived | None:
    """None also for what the owner wrote on another device."""
    found = (one.event for one in events)
    return next((event for event in found if type(event) is MessageReceived), None)


def _with_sender(named: MessageReference, events: list[StoredEvent]) -> MessageReference:
    """The reference with the JID of an incoming message's sender, as WhatsApp names it."""
    found = _received(events)
    return named if found is None else named.model_copy(update={"sender": found.sender})
