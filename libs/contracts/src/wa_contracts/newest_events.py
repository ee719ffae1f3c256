"""Events of known types in their newest versions, read in one pass from JSON: many in one call.

Each type has an envelope model of its own here, chosen by `type`; they are made when the first event
comes. What they do not take (another version, an unknown type, a fault) is for `codec` to read step
by step and to name. What both take comes out the same.
"""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import Field, TypeAdapter, ValidationError, create_model

from wa_contracts.call_events import CALL_EVENTS
from wa_contracts.envelope import Envelope
from wa_contracts.internal.bundle import joined
from wa_contracts.message_events import MESSAGE_EVENTS
from wa_contracts.session_events import SESSION_EVENTS, Event


def newest_event(body: bytes | str) -> Envelope | None:
    """The event; None if it must be read step by step."""
    try:
        event = _event().validate_json(body)
    except ValidationError:
        return None
    _make_plain(event)
    return event


def newest_events(bodies: Sequence[str]) -> Sequence[Envelope] | None:
    """The events; None if one of them must be read step by step."""
    try:
        events = _events().validate_json(joined(bodies))
    except ValidationError:
        return None
    if len(events) != len(bodies):  # one was no JSON by itself
        return None
    for event in events:
        _make_plain(event)
    return events


def _make_plain(event: Envelope) -> None:
    """Nobody sees the models of this module: an event equals any other that says the same."""
    object.__setattr__(event, "__class__", Envelope)


@cache
def _any_of_them() -> Any:
    models = [_envelope_of(event) for event in (*SESSION_EVENTS, *MESSAGE_EVENTS, *CALL_EVENTS)]
    return Annotated[Union[tuple(models)], Field(discriminator="type")]  # noqa: UP007


def _envelope_of(event: type[Event]) -> type[Envelope]:
    type_: Any = Literal[event.TYPE]
    version: Any = Literal[event.VERSION]
    return create_model(
        event.__name__, __base__=Envelope, type=(type_, ...), version=(version, ...), data=event
    )


@cache
def _event() -> TypeAdapter[Envelope]:
    return TypeAdapter(_any_of_them())


@cache
def _events() -> TypeAdapter[list[Envelope]]:
    events: Any = list[_any_of_them()]  # type: ignore[misc]
    return TypeAdapter(events)
