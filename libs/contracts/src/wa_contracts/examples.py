"""One example of every event with all fields set, for the AsyncAPI document and tests."""

from datetime import UTC, datetime
from uuid import UUID

from wa_contracts.call_events import CallEnded, CallReceived
from wa_contracts.content import Location
from wa_contracts.envelope import Envelope
from wa_contracts.ids import (
    EventId,
    MessageId,
    SessionId,
    call_stream,
    message_stream,
    session_stream,
)
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.message_events import (
    MessageCancelled,
    MessageDelivered,
    MessageEchoed,
    MessageEdited,
    MessageFailed,
    MessageOutcomeUnknown,
    MessagePlayed,
    MessageQueued,
    MessageReacted,
    MessageRead,
    MessageReceived,
    MessageRetryRequested,
    MessageRevoked,
    MessageScheduled,
    MessageSent,
    MessageVoted,
)
from wa_contracts.session_events import (
    Event,
    QRExpired,
    QRIssued,
    SessionBanned,
    SessionConnected,
    SessionConnecting,
    SessionCreated,
    SessionDeleted,
    SessionDisconnected,
    SessionFailed,
    SessionLoggedOut,
    SessionRestricted,
    SessionStarting,
    SessionStopped,
    SessionUpdated,
)
from wa_contracts.session_options import PacingLimits, Presence, Receive

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = SessionId(UUID(int=1))
CALL = UUID(int=6)
MESSAGE = MessageId(UUID(int=2))
NUMBER = "919876543210"

_EVENTS: tuple[Event, ...] = (
    SessionCreated(name="Sales"),
    SessionUpdated(
        name="Sales",
        metadata={"customer": "4711"},
        receive=Receive(stories=True, echoes=False),
        proxy="socks5://proxy.example.com:1080",
        device_name="Shop",
        presence=Presence.AVAILABLE,
        pacing=PacingLimits(per_minute=6, per_day=500),
        keep_media=True,
    ),
    SessionStarting(reason="created"),
    QRIssued(qr="https://wa.me/settings/linked_devices#…", expires_at=AT),
    QRExpired(),
    SessionConnecting(phone_number=NUMBER, reason="linked"),
    SessionConnected(phone_number=NUMBER, connected_at=AT),
    SessionDisconnected(reason="connection_lost", message="The connection was lost.", retry_at=AT),
    SessionRestricted(reason="too_many", message="Restricted for a while.", until=AT),
    SessionLoggedOut(reason="phone"),
    SessionBanned(reason="banned", message="WhatsApp banned this number."),
    SessionStopped(),
    SessionFailed(reason="qr_expired", message="The QR code was not scanned in time."),
    SessionDeleted(),
    MessageScheduled(
        id=MESSAGE,
        to=NUMBER,
        type=MessageType.TEXT,
        reference="order 7",
        send_at=AT,
        expires_at=AT,
    ),
    MessageQueued(
        id=MESSAGE,
        to=NUMBER,
        type=MessageType.TEXT,
        reference="order 7",
        expires_at=AT,
        resend_of=MessageId(UUID(int=3)),
        target_id=MessageId(UUID(int=4)),
    ),
    MessageSent(
        id=MESSAGE,
        message_id="3EB0601DAAF2EF6BE85000",
        to=NUMBER,
        type=MessageType.TEXT,
        sent_at=AT,
        reference="order 7",
    ),
    MessageDelivered(
        id=MESSAGE,
        message_id="3EB0601DAAF2EF6BE85000",
        to=NUMBER,
        delivered_at=AT,
        reference="order 7",
    ),
    MessageRead(
        id=MESSAGE,
        message_id="3EB0601DAAF2EF6BE85000",
        to=NUMBER,
        read_at=AT,
        reference="order 7",
    ),
    MessagePlayed(
        id=MESSAGE,
        message_id="3EB0601DAAF2EF6BE85000",
        to=NUMBER,
        played_at=AT,
        reference="order 7",
    ),
    MessageRetryRequested(
        id=MESSAGE,
        message_id="3EB0601DAAF2EF6BE85000",
        to=NUMBER,
        requested_at=AT,
        reference="order 7",
    ),
    MessageFailed(
        id=MESSAGE,
        to=NUMBER,
        type=MessageType.TEXT,
        error=ErrorDetail(code="not_on_whatsapp", message="This number is not on WhatsApp."),
        reference="order 7",
    ),
    MessageOutcomeUnknown(
        id=MESSAGE,
        to=NUMBER,
        type=MessageType.TEXT,
        error=ErrorDetail(code="outcome_unknown", message="Interrupted while sending."),
        reference="order 7",
    ),
    MessageCancelled(id=MESSAGE, to=NUMBER, type=MessageType.TEXT, reference="order 7"),
    MessageReceived(
        id=MESSAGE,
        message_id="3A0000000000000000AA",
        chat="123456789012345@lid",
        sender="123456789012345@lid",
        sender_number="12345678900",
        sender_lid="123456789012345@lid",
        type="document",
        text="Here is the report.",
        media_mime_type="application/pdf",
        media_size=48_213,
        file_name="report.pdf",
        quoted_message_id="3EB0601DAAF2EF6BE85000",
        received_at=AT,
        sender_name="Ada",
        mentions=("123456789012346@lid",),
    ),
    MessageEchoed(
        id=MESSAGE,
        message_id="3A0000000000000000AB",
        chat="123456789012345@lid",
        sender="19876543210@s.whatsapp.net",
        sender_number="19876543210",
        type="location",
        received_at=AT,
        location=Location(latitude=52.5163, longitude=13.3777, name="Brandenburg Gate"),
    ),
    MessageReacted(
        id=MESSAGE,
        message_id="3EB0601DAAF2EF6BE85000",
        chat="123456789012345@lid",
        sender="123456789012345@lid",
        sender_number="12345678900",
        sender_name="Ada",
        emoji="👍",
        reacted_at=AT,
    ),
    MessageVoted(
        id=MESSAGE,
        message_id="3EB0601DAAF2EF6BE85000",
        chat="123456789012345@lid",
        sender="123456789012345@lid",
        sender_number="12345678900",
        sender_name="Ada",
        options=("Monday",),
        voted_at=AT,
    ),
    MessageEdited(
        id=MESSAGE,
        message_id="3A0000000000000000AA",
        chat="123456789012345@lid",
        sender="123456789012345@lid",
        sender_number="12345678900",
        sender_name="Ada",
        text="Here is the right report.",
        edited_at=AT,
    ),
    MessageRevoked(
        id=MESSAGE,
        message_id="3A0000000000000000AA",
        chat="123456789012345@lid",
        sender="123456789012345@lid",
        sender_number="12345678900",
        sender_name="Ada",
        revoked_at=AT,
    ),
    CallReceived(
        id=CALL,
        call_id="0A1B2C3D4E5F60718293A4B5C6D7E8F9",
        caller="123456789012345@lid",
        caller_number="12345678900",
        caller_lid="123456789012345@lid",
        is_video=True,
        received_at=AT,
    ),
    CallEnded(
        id=CALL,
        call_id="0A1B2C3D4E5F60718293A4B5C6D7E8F9",
        caller="123456789012345@lid",
        caller_number="12345678900",
        caller_lid="123456789012345@lid",
        reason="timeout",
        ended_at=AT,
    ),
)


def _envelope(sequence: int, event: Event) -> Envelope:
    streams = {
        "session": session_stream(SESSION),
        "message": message_stream(MESSAGE),
        "call": call_stream(CALL),
    }
    stream = streams[event.TYPE.partition(".")[0]]
    return Envelope(
        id=EventId(UUID(int=100 + sequence)),
        type=event.TYPE,
        version=event.VERSION,
        session_id=SESSION,
        session_sequence=sequence,
        stream=stream,
        stream_version=sequence,
        occurred_at=AT,
        correlation_id=UUID(int=4),
        causation_id=UUID(int=5),
        data=event,
    )


EXAMPLES = tuple(_envelope(number, event) for number, event in enumerate(_EVENTS, 1))
