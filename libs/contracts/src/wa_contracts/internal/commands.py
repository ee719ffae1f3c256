"""Commands: what the api asks an owner to do. Imperative, to one session's owner or a partition's."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field

from wa_contracts.ids import CommandId, MessageId, SessionId
from wa_contracts.recipient import Recipient
from wa_contracts.wire import Key, UtcDatetime, Wire, storable


class MessageType(StrEnum):
    """What kind of content a message has."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    DOCUMENT = "document"


class Command(Wire):
    """What every command carries.

    `reply_to` is the routing key on which the sender waits for the outcome, or None.
    `correlation_id` travels into every event that the command causes.
    """

    model_config = ConfigDict(extra="forbid")
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


class RestartSession(SessionCommand):
    """Start a session's engine anew, whatever its state: also after stop, expiry or log-out."""

    type: Literal["RestartSession"] = "RestartSession"


class StopSession(SessionCommand):
    """End a session's engine and keep its link."""

    type: Literal["StopSession"] = "StopSession"


class LogOutSession(SessionCommand):
    """Unlink the session at WhatsApp; its backlog fails."""

    type: Literal["LogOutSession"] = "LogOutSession"


class DeleteSession(SessionCommand):
    """Log out and forget the session; its backlog fails."""

    type: Literal["DeleteSession"] = "DeleteSession"


class RequestPairingCode(SessionCommand):
    """Ask WhatsApp for a code that links the phone with this number. Answered by a `Reply`."""

    type: Literal["RequestPairingCode"] = "RequestPairingCode"
    phone_number: Annotated[str, Field(pattern=r"^[1-9][0-9]{6,14}$")]


class SendMessage(SessionCommand):
    """Send one message.

    `message_id` is minted by the api (derived from the idempotency key where there is one) and
    names the message's stream. `fingerprint` is a hash of the request's body: the same id with
    another fingerprint is a conflict. `reply_on` says which event ends the sender's wait.
    """

    type: Literal["SendMessage"] = "SendMessage"
    message_id: MessageId
    to: Recipient
    message_type: MessageType
    text: str | None = None
    media_url: str | None = None
    file_name: str | None = None
    reference: str | None = None
    fingerprint: str
    reply_on: Literal["queued", "outcome"] = "outcome"


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
    """End a send that was dead-lettered and that its owner knows nothing of. Else nothing."""

    type: Literal["FailMessage"] = "FailMessage"
    message_id: MessageId
    to: str
    message_type: MessageType
    reference: str | None = None


class ReplaySession(SessionCommand):
    """Publish a session's stored events again from a sequence on, in bundles, to one queue."""

    type: Literal["ReplaySession"] = "ReplaySession"
    from_sequence: Annotated[int, Field(ge=1), AfterValidator(storable)]
    queue: Key


class ReplayPartition(Command):
    """Publish all stored events of a partition again, in bundles, to one queue.

    `PartitionReplayed` follows them. Acknowledged after it: a host that dies in the middle leaves
    the command to the next owner, and events may come twice. Ends when there is no such queue.
    """

    type: Literal["ReplayPartition"] = "ReplayPartition"
    partition: Annotated[int, Field(ge=0), AfterValidator(storable)]
    queue: Key


class FetchMedia(SessionCommand):
    """Download the media of an incoming message and put it, in pieces, into `queue`.

    Answered by a `Reply` with what is to come, or why nothing will; see `media_transfer`.
    """

    type: Literal["FetchMedia"] = "FetchMedia"
    message_id: MessageId
    queue: Key


AnyCommand = Annotated[
    CreateSession
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
    | FetchMedia,
    Field(discriminator="type"),
]
