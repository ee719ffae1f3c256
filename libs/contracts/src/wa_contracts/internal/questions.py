"""What the api asks WhatsApp through a session, and the answers. Nothing of it is stored."""

from typing import Annotated, Literal

from pydantic import Field

from wa_contracts.internal.content import MessageReference
from wa_contracts.wire import Wire


class MarkRead(Wire):
    """Tell the sender that a message was read. session-host adds chat and sender."""

    type: Literal["MarkRead"] = "MarkRead"
    of: MessageReference
    chat: str | None = None


class ShowTyping(Wire):
    """Show in a chat that somebody types or records, or no longer does."""

    type: Literal["ShowTyping"] = "ShowTyping"
    to: str
    state: Literal["typing", "recording", "paused"]


class CheckNumbers(Wire):
    """Which of these numbers (digits) have an account."""

    type: Literal["CheckNumbers"] = "CheckNumbers"
    numbers: tuple[str, ...]


class NumberOf(Wire):
    """The number behind a JID that hides it, as far as the engine knows; WhatsApp is not asked."""

    type: Literal["NumberOf"] = "NumberOf"
    jid: str


class ListGroups(Wire):
    """The groups that the session is in, without their participants."""

    type: Literal["ListGroups"] = "ListGroups"


class DescribeGroup(Wire):
    """One group with its participants."""

    type: Literal["DescribeGroup"] = "DescribeGroup"
    jid: str


Question = Annotated[
    MarkRead | ShowTyping | CheckNumbers | NumberOf | ListGroups | DescribeGroup,
    Field(discriminator="type"),
]


class NumberCheck(Wire):
    """A number as it was asked about, and the account that WhatsApp names for it."""

    number: str
    exists: bool
    phone_number: str | None = None
    """The account's number in digits, as WhatsApp writes it."""
    jid: str | None = None
    """The address to write to."""
    lid: str | None = None
    """The JID that hides the number, if it is known."""


class Participant(Wire):
    """A member of a group."""

    jid: str
    phone_number: str | None = None
    lid: str | None = None
    is_admin: bool = False


class Group(Wire):
    """A group. `can_send`: it takes messages from this session."""

    jid: str
    subject: str
    participant_count: int
    is_announcement: bool
    can_send: bool
    participants: tuple[Participant, ...] = ()


class Answer(Wire):
    """What the question asked for. Empty for one that only told WhatsApp something."""

    numbers: tuple[NumberCheck, ...] = ()
    number: str | None = None
    groups: tuple[Group, ...] = ()
