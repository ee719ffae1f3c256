"""Commands from the api to the owner of a session or partition. Imperative."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from wa_contracts.ids import PARTITIONS, CommandId, MessageId, SessionId
from wa_contracts.internal.content import Change, Parts, StoredMedia
from wa_contracts.internal.questions import Question
from wa_contracts.internal.session_changes import SessionChanges
from wa_contracts.recipient import Recipient
from wa_contracts.wire import Key, UtcDatetime, Wire, storable


class MessageType(StrEnum):
    """What kind of content a message has."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    DOCUMENT = "document"
    AUDIO = "audio"
    VOICE = "voice"
    STICKER = "sticker"
    LOCATION = "location"
    CONTACT = "contact"
    POLL = "poll"
    REACTION = "reaction"
    EDIT = "edit"
    REVOKE = "revoke"

    @property
    def has_media(self) -> bool:
        """Whether its content is a file."""
        return self.has_caption or self in {"audio", "voice", "sticker"}

    @property
    def has_caption(self) -> bool:
        """Whether its content is a file with a text below."""
        return self in {"image", "video", "document"}

    @property
    def is_change(self) -> bool:
        """Whether it changes an earlier message: no client sends it as a type."""
        return self in {MessageType.EDIT, MessageType.REVOKE}


class Command(Wire):
    """Fields of every command.

    `reply_to` is the routing key for replies and outcomes to the sender, or None. Every event
    caused by the command has its `correlation_id`. Unknown fields are ignored: a newer sender may
    add optional ones.
    """

    VERSION: ClassVar[int] = 1

    id: CommandId
    correlation_id: UUID
    issued_at: UtcDatetime
    expires_at: UtcDatetime
    reply_to: Key | None = None


class SessionCommand(Command):
    """A command to the owner of one session."""

    session_id: SessionId


class CreateSession(SessionCommand):
    """Open the stream of a new session and start it. Answered by `session.created`."""

    type: Literal["CreateSession"] = "CreateSession"
    name: str | None = None
    changes: SessionChanges | None = None
    """Options beside the name."""


class UpdateSession(SessionCommand):
    """Change options of a session. Answered by `session.updated`."""

    type: Literal["UpdateSession"] = "UpdateSession"
    changes: SessionChanges


class RestartSession(SessionCommand):
    """Restart a session's engine in any state, also after stop, expiry or logout."""

    type: Literal["RestartSession"] = "RestartSession"


class StopSession(SessionCommand):
    """Stop a session's engine and keep its link."""

    type: Literal["StopSession"] = "StopSession"


class LogOutSession(SessionCommand):
    """Unlink the session at WhatsApp. Queued messages fail."""

    type: Literal["LogOutSession"] = "LogOutSession"


class DeleteSession(SessionCommand):
    """Log out and delete the session. Queued messages fail."""

    type: Literal["DeleteSession"] = "DeleteSession"


class RequestPairingCode(SessionCommand):
    """Request a code from WhatsApp that links the phone with this number. Answered by a `Reply`."""

    type: Literal["RequestPairingCode"] = "RequestPairingCode"
    phone_number: Annotated[str, Field(pattern=r"^[1-9][0-9]{6,14}$")]


class SendMessage(SessionCommand):
    """Send one message.

    The api chooses `message_id`, derived from the idempotency key if there is one; it names the
    message's stream. `fingerprint` is a hash of the request body: the same id with another
    fingerprint is a conflict. `reply_on` is the event that ends the sender's wait:
    for `queued` also `message.scheduled`.
    """

    type: Literal["SendMessage"] = "SendMessage"
    message_id: MessageId
    to: Recipient
    message_type: MessageType
    text: str | None = None
    media_url: str | None = None
    media: StoredMedia | None = None
    file_name: str | None = None
    parts: Parts | None = None
    reference: str | None = None
    send_at: UtcDatetime | None = None
    """When to send it; at once without."""
    fingerprint: str
    reply_on: Literal["queued", "outcome"] = "outcome"

    @property
    def is_prepared(self) -> bool:
        """Whether something is fetched before it goes out: a file, or a link's preview."""
        has_link = self.parts is not None and self.parts.link_preview
        return self.message_type.has_media or has_link

    @property
    def change(self) -> Change | None:
        """The earlier message that this one edits or revokes."""
        return None if self.parts is None else self.parts.change


class CancelMessage(SessionCommand):
    """Cancel a message that is still queued."""

    type: Literal["CancelMessage"] = "CancelMessage"
    message_id: MessageId


class ResendMessage(SessionCommand):
    """Send the content of a failed or unknown message again, as the new message `message_id`."""

    type: Literal["ResendMessage"] = "ResendMessage"
    message_id: MessageId
    resend_of: MessageId


class FailMessage(SessionCommand):
    """Fail a dead-lettered send. Ignored if the owner knows the message."""

    type: Literal["FailMessage"] = "FailMessage"
    message_id: MessageId
    to: str
    message_type: MessageType
    reference: str | None = None


class ReplaySession(SessionCommand):
    """Publish a session's stored events again, from a sequence on, in bundles to one queue."""

    type: Literal["ReplaySession"] = "ReplaySession"
    from_sequence: Annotated[int, Field(ge=1), AfterValidator(storable)]
    queue: Key


class ReplayPartition(Command):
    """Publish all stored events of a partition again, in bundles to one queue.

    `PartitionReplayed` follows the events, then the command is acknowledged. If the host dies
    before, the next owner repeats the command, and events may be duplicated. The replay stops if
    the queue does not exist.
    """

    type: Literal["ReplayPartition"] = "ReplayPartition"
    partition: Annotated[int, Field(ge=0, lt=PARTITIONS)]
    queue: Key


class FetchMedia(SessionCommand):
    """Download the media of an incoming message and publish it in pieces to `queue`.

    Answered by a `Reply` with an offer or an error; see `media_transfer`.
    """

    type: Literal["FetchMedia"] = "FetchMedia"
    message_id: MessageId
    queue: Key


class AskWhatsApp(SessionCommand):
    """Ask WhatsApp something through a working session. Answered by a `Reply`."""

    type: Literal["AskWhatsApp"] = "AskWhatsApp"
    question: Question


AnyCommand = Annotated[
    CreateSession
    | UpdateSession
    | RestartSession
    | StopSession
    | LogOutSession
    | DeleteSession
    | RequestPairingCode
    | SendMessage
    | CancelMessage
    | ResendMessage
    | FailMessage
    | ReplaySession
    | ReplayPartition
    | FetchMedia
    | AskWhatsApp,
    Field(discriminator="type"),
]
