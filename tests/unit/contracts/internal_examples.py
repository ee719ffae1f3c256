"""One example of every message between the services, with all fields set."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wa_contracts.ids import CommandId, MessageId, SessionId
from wa_contracts.internal.commands import (
    AskWhatsApp,
    CancelMessage,
    CreateSession,
    DeleteSession,
    FailMessage,
    FetchMedia,
    LogOutSession,
    MessageType,
    ReplayPartition,
    ReplaySession,
    RequestPairingCode,
    ResendMessage,
    RestartSession,
    SendMessage,
    StopSession,
    UpdateSession,
)
from wa_contracts.internal.heartbeat import Heartbeat, SessionPace
from wa_contracts.internal.questions import (
    Answer,
    CheckNumbers,
    Group,
    NumberCheck,
    Participant,
)
from wa_contracts.internal.replay import PartitionReplayed
from wa_contracts.internal.replies import (
    ErrorDetail,
    MediaOffer,
    MessageSnapshot,
    MessageStatus,
    PairingCode,
    Reply,
)
from wa_contracts.internal.session_changes import ReceiveChanges, SessionChanges
from wa_contracts.session_options import PacingLimits, Presence

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMAND, MESSAGE = CommandId(UUID(int=1)), MessageId(UUID(int=2))
EVERY: dict[str, Any] = {
    "id": COMMAND,
    "correlation_id": UUID(int=3),
    "issued_at": AT,
    "expires_at": AT,
    "reply_to": "reply.api",
}
OF_SESSION: dict[str, Any] = {**EVERY, "session_id": SessionId(UUID(int=4))}
NUMBER = "919876543210"

COMMANDS = (
    CreateSession(**OF_SESSION, name="Sales"),
    UpdateSession(
        **OF_SESSION,
        changes=SessionChanges(
            metadata={"customer": "4711"},
            receive=ReceiveChanges(groups=False),
            proxy="socks5://user:password@proxy.example.com:1080",
            device_name="Shop",
            presence=Presence.AVAILABLE,
            pacing=PacingLimits(per_minute=6, per_day=500),
            keep_media=True,
            cleared=("name",),
        ),
    ),
    RestartSession(**OF_SESSION),
    StopSession(**OF_SESSION),
    LogOutSession(**OF_SESSION),
    DeleteSession(**OF_SESSION),
    RequestPairingCode(**OF_SESSION, phone_number=NUMBER),
    SendMessage(
        **OF_SESSION,
        message_id=MESSAGE,
        to=NUMBER,
        message_type=MessageType.DOCUMENT,
        text="hello",
        media_url="https://example.com/a.pdf",
        file_name="a.pdf",
        reference="order 7",
        fingerprint="f",
        reply_on="queued",
    ),
    CancelMessage(**OF_SESSION, message_id=MESSAGE),
    ResendMessage(**OF_SESSION, message_id=MESSAGE, resend_of=MessageId(UUID(int=5))),
    FailMessage(
        **OF_SESSION,
        message_id=MESSAGE,
        to=NUMBER,
        message_type=MessageType.TEXT,
        reference="order 7",
    ),
    ReplaySession(**OF_SESSION, from_sequence=7, queue="wa.projector"),
    ReplayPartition(**EVERY, partition=7, queue="wa.rebuild.x"),
    FetchMedia(**OF_SESSION, message_id=MESSAGE, queue="amq.gen-x"),
    AskWhatsApp(**OF_SESSION, question=CheckNumbers(numbers=(NUMBER,))),
)
ANSWERS = (
    Reply(
        command_id=COMMAND,
        error=ErrorDetail(code="not_cancellable", message="Too late."),
        message=MessageSnapshot(
            id=MESSAGE,
            message_id="3EB0601DAAF2EF6BE85000",
            status=MessageStatus.SENT,
            error=ErrorDetail(code="expired", message="Expired."),
            correlation_id=UUID(int=3),
        ),
        pairing_code=PairingCode(pairing_code="ABCD-1234", expires_at=AT),
        media=MediaOffer(mime_type="image/png", file_name="a.png", size=7),
        answer=Answer(
            numbers=(
                NumberCheck(
                    number=NUMBER,
                    exists=True,
                    phone_number=NUMBER,
                    jid=f"{NUMBER}@s.whatsapp.net",
                    lid="1@lid",
                ),
            ),
            groups=(
                Group(
                    jid="1@g.us",
                    subject="Team",
                    participant_count=1,
                    is_announcement=True,
                    can_send=True,
                    participants=(
                        Participant(jid="1@lid", phone_number=NUMBER, lid="1@lid", is_admin=True),
                    ),
                ),
            ),
        ),
        retry_after_seconds=2.5,
    ),
    Heartbeat(
        host="host-a",
        sent_at=AT,
        partitions=(1, 2),
        sessions=3,
        good_for_seconds=6,
        leaving=True,
        paces=(
            SessionPace(
                session_id=SessionId(UUID(int=4)),
                next_send_at=AT,
                sent_today=1,
                per_minute=2.5,
                per_day=100,
            ),
        ),
    ),
    PartitionReplayed(command_id=COMMAND, partition=7),
)
