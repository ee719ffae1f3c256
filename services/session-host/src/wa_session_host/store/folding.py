"""Stored events folded into states."""

from collections.abc import Iterable

from wa_session_host.domain import message, session
from wa_session_host.store.stored_event import StoredEvent


def message_state(events: Iterable[StoredEvent]) -> message.State:
    """The state of a message from its stream."""
    state: message.State = message.Unborn()
    for stored in events:
        state = message.evolve(state, stored.event, stored.content)
    return state


def session_state(events: Iterable[StoredEvent]) -> session.State:
    """The state of a session from its stream."""
    state: session.State = session.Unborn()
    for stored in events:
        state = session.evolve(state, stored.event)
    return state
