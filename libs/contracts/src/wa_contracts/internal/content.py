"""Structured content of outgoing messages: private, stored by session-host, never published."""

from wa_contracts.content import Contact, Location, Poll
from wa_contracts.ids import MessageId
from wa_contracts.wire import Wire


class MessageReference(Wire):
    """Another message. `message_id` is WhatsApp's id; `sender` is None for the session's own."""

    message_id: str
    sender: str | None = None
    """The JID of its sender."""
    id: MessageId | None = None
    """The gateway's id, if it knows the message: session-host then reads sender and text."""


class Reaction(Wire):
    """An emoji on another message; an empty one takes it back."""

    on: MessageReference
    emoji: str


class Quote(Wire):
    """The message that is answered."""

    of: MessageReference
    text: str | None = None


class Change(Wire):
    """The earlier message that an edit or a revoke changes."""

    of: MessageReference
    of_type: str
    """Its type: an edit replaces the text, or the caption of this type."""
    number: str | None = None
    """The session's own number in digits, from session-host."""


class StoredMedia(Wire):
    """An upload: its place in the media store, and what its sender said about it."""

    key: str
    mime_type: str
    file_name: str | None = None


class Parts(Wire):
    """What a message consists of beside text and media."""

    location: Location | None = None
    contacts: tuple[Contact, ...] = ()
    poll: Poll | None = None
    reaction: Reaction | None = None
    quote: Quote | None = None
    change: Change | None = None
    mentions: tuple[str, ...] = ()
    """Numbers or JIDs."""
    mention_all: bool = False
    """Also everybody in the group, as session-host finds when it sends."""
    view_once: bool = False
    """Phones show the media once."""
    link_preview: bool = False
    """Show title, description and picture of the text's first link."""
