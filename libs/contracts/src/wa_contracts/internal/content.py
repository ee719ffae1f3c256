"""Structured content of outgoing messages: private, stored by session-host, never published."""

from wa_contracts.ids import MessageId
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


class MessageReference(Wire):
    """Another message. `message_id` is WhatsApp's id; `sender` is None for the session's own."""

    message_id: str
    sender: str | None = None
    """The JID of its sender."""


class Reaction(Wire):
    """An emoji on another message; an empty one takes it back."""

    on: MessageReference
    emoji: str


class Quote(Wire):
    """The message that is answered. session-host reads the `text` of message `id` if it is None."""

    of: MessageReference
    id: MessageId | None = None
    text: str | None = None


class Parts(Wire):
    """What a message consists of beside text and media."""

    location: Location | None = None
    contacts: tuple[Contact, ...] = ()
    poll: Poll | None = None
    reaction: Reaction | None = None
    quote: Quote | None = None
    mentions: tuple[str, ...] = ()
    """Numbers or JIDs."""
