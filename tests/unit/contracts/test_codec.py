"""JSON and back: every event and command, and what is none."""

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from wa_contracts.codec import (
    EVENT_TYPES,
    Undecodable,
    decode_command,
    decode_event,
    decode_heartbeat,
    decode_reply,
    encode,
    frame_event,
)
from wa_contracts.envelope import Envelope
from wa_contracts.ids import (
    CommandId,
    EventId,
    MessageId,
    SessionId,
    message_id_for_key,
    message_stream,
)
from wa_contracts.internal.commands import MessageType, SendMessage
from wa_contracts.message_events import MessageSent
from wa_contracts.topology import PARTITIONS, event_key, partition_of
from wa_contracts.upcasters import upcast

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = SessionId(UUID(int=1))
SENT = MessageSent(
    id=MessageId(UUID(int=2)),
    message_id="3EB0601DAAF2EF6BE85000",
    to="919876543210",
    type=MessageType.TEXT,
    sent_at=AT,
    reference="order 7",
)


def envelope() -> Envelope:
    """A sent message's."""
    return Envelope(
        id=EventId(UUID(int=3)),
        type=SENT.TYPE,
        version=SENT.VERSION,
        session_id=SESSION,
        session_sequence=9,
        stream=message_stream(SENT.id),
        stream_version=3,
        occurred_at=AT,
        correlation_id=UUID(int=4),
        causation_id=UUID(int=5),
        data=SENT,
    )


def test_the_envelope_of_a_sent_message_has_the_published_shape() -> None:
    assert json.loads(encode(envelope())) == snapshot(
        {
            "id": "00000000-0000-0000-0000-000000000003",
            "type": "message.sent",
            "version": 1,
            "sessionId": "00000000-0000-0000-0000-000000000001",
            "sessionSequence": 9,
            "stream": "message-00000000-0000-0000-0000-000000000002",
            "streamVersion": 3,
            "occurredAt": "2026-01-02T03:04:05Z",
            "correlationId": "00000000-0000-0000-0000-000000000004",
            "causationId": "00000000-0000-0000-0000-000000000005",
            "data": {
                "id": "00000000-0000-0000-0000-000000000002",
                "messageId": "3EB0601DAAF2EF6BE85000",
                "to": "919876543210",
                "type": "text",
                "sentAt": "2026-01-02T03:04:05Z",
                "reference": "order 7",
            },
        }
    )


def test_an_event_comes_back_as_it_was() -> None:
    assert decode_event(encode(envelope())) == envelope()


def test_the_relays_framing_means_the_same() -> None:
    whole = envelope()
    framed = frame_event(
        event_id=whole.id,
        event_type=whole.type,
        version=whole.version,
        session_id=whole.session_id,
        session_sequence=whole.session_sequence,
        stream=whole.stream,
        stream_version=whole.stream_version,
        occurred_at=whole.occurred_at,
        correlation_id=whole.correlation_id,
        causation_id=whole.causation_id,
        data_json=SENT.model_dump_json(),
    )
    assert decode_event(framed) == whole


def test_new_fields_of_a_newer_publisher_are_passed_over() -> None:
    raw = json.loads(encode(envelope()))
    raw["data"]["addedLater"] = 1
    raw["alsoAdded"] = 2
    assert decode_event(json.dumps(raw).encode()) == envelope()


@pytest.mark.parametrize(
    "change",
    [
        {"type": "message.vanished"},
        {"version": 2},
        {"version": 0},
        {"data": {}},
        {"data": []},
        {"sessionId": "x"},
        {"occurredAt": "2026-01-02T03:04:05"},
        {"occurredAt": "2026-01-02T03:04:05+02:00"},
    ],
)
def test_what_is_no_event_of_ours_is_undecodable(change: dict[str, object]) -> None:
    raw = json.loads(encode(envelope())) | change
    with pytest.raises(Undecodable):
        decode_event(json.dumps(raw).encode())


@given(st.binary() | st.text().map(str.encode) | st.from_regex(r"\{.*\}").map(str.encode))
def test_any_bytes_decode_or_are_undecodable(body: bytes) -> None:
    for decode in (decode_event, decode_command, decode_reply, decode_heartbeat):
        with pytest.raises(Undecodable):
            decode(body)


def test_a_command_comes_back_and_unknown_fields_are_passed_over() -> None:
    command = SendMessage(
        id=CommandId(uuid4()),
        session_id=SESSION,
        correlation_id=uuid4(),
        issued_at=AT,
        expires_at=AT,
        message_id=MessageId(uuid4()),
        to="919876543210",
        message_type=MessageType.TEXT,
        text="hello",
        fingerprint="f",
    )
    assert decode_command(encode(command)) == command
    raw = json.loads(encode(command)) | {"surprise": 1}
    assert decode_command(json.dumps(raw).encode()) == command


def test_an_undecodable_command_is_described_without_its_content() -> None:
    with pytest.raises(Undecodable) as raised:
        decode_command(b'{"type": "SendMessage", "text": "a secret"}')
    assert "secret" not in str(raised.value)


def test_upcasting_goes_version_by_version() -> None:
    steps = {
        ("thing.happened", 1): lambda data: data | {"b": data["a"] + 1},
        ("thing.happened", 2): lambda data: data | {"c": data["b"] + 1},
    }
    data = upcast("thing.happened", 1, {"a": 1}, to_version=3, upcasters=steps)
    assert data == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(KeyError):
        upcast("thing.happened", 4, {}, to_version=3, upcasters=steps)


def test_every_event_has_a_routing_key_of_its_own() -> None:
    keys = {event_key(SESSION, name) for name in EVENT_TYPES}
    assert len(keys) == 32
    assert all(key.startswith(f"v1.{SESSION}.") and key.count(".") == 3 for key in keys)


def test_a_sessions_partition_never_changes() -> None:
    assert [partition_of(SessionId(UUID(int=n))) for n in (1, 2, 3, 2**127)] == snapshot(
        [3, 57, 47, 33]
    )
    used = {partition_of(SessionId(uuid4())) for _ in range(3000)}
    assert used == set(range(PARTITIONS))


def test_an_idempotency_key_names_one_message_of_one_session() -> None:
    one = message_id_for_key(SESSION, "order-7")
    assert one == message_id_for_key(SESSION, "order-7")
    assert one != message_id_for_key(SESSION, "order-8")
    assert one != message_id_for_key(SessionId(UUID(int=2)), "order-7")
