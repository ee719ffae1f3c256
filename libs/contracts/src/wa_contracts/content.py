"""Structured content of messages: places, contact cards, polls."""

from wa_contracts.wire import Wire


class Location(Wire):
    """A place. Degrees; `name` and `address` are shown beneath the map."""

    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None


class Contact(Wire):
    """A contact card. `vcard` is its whole text (vCard 3.0), `name` the name that is shown."""

    name: str
    vcard: str


class Poll(Wire):
    """A question. `selectable` is how many options one person may choose."""

    question: str
    options: tuple[str, ...]
    selectable: int = 1


class Selection(Wire):
    """What a person chose of buttons or a list. `id` is the sender's own name of the choice."""

    id: str
    text: str | None = None
