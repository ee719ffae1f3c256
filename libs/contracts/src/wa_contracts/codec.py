"""The only JSON code: commands, replies and events to bytes and back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from wa_contracts.call_events import CALL_EVENTS
from wa_contracts.envelope import Envelope
from wa_contracts.internal.bundle import BundledEvent, split_bundle
from wa_contracts.internal.commands import AnyCommand, Command
from wa_contracts.internal.heartbeat import Heartbeat
from wa_contracts.internal.replay import PartitionReplayed
from wa_contracts.internal.replies import Reply
from wa_contracts.message_events import MESSAGE_EVENTS
from wa_contracts.newest_events import newest_event
from wa_contracts.session_events import SESSION_EVENTS, Event
from wa_contracts.upcasters import upcast

EVENT_TYPES: dict[str, type[Event]] = {
    e.TYPE: e for e in (*SESSION_EVENTS, *MESSAGE_EVENTS, *CALL_EVENTS)
}

COMMAND_LIMIT = 1024 * 1024
"""Bytes; four times the largest request."""
EVENT_LIMIT = 16 * 1024 * 1024
"""Bytes; twice the largest thing that an engine may say, and more than any bundle."""

_COMMAND: TypeAdapter[AnyCommand] = TypeAdapter(AnyCommand, config=ConfigDict(defer_build=True))


Model = TypeVar("Model", bound=BaseModel)


class Undecodable(ValueError):
    """The bytes are no message of this contract. Will not succeed later: a case for dead letters."""


def encode(message: Command | Reply | Envelope | Heartbeat | PartitionReplayed) -> bytes:
    """UTF-8 JSON with camelCase names; absent optional values are null."""
    return message.model_dump_json().encode()


def frame_event(
    *,
    event_id: UUID,
    event_type: str,
    version: int,
    session_id: UUID,
    session_sequence: int,
    stream: str,
    stream_version: int,
    occurred_at: datetime,
    correlation_id: UUID,
    causation_id: UUID,
    data_json: str,
) -> bytes:
    """The envelope around data that is JSON already: the same bytes' meaning as `encode`.

    For the relay, which publishes what is stored without reading it again. All other values are
    of alphabets that JSON needs no escapes for.
    """
    return (
        f'{{"id":"{event_id}","type":"{event_type}","version":{version},'
        f'"sessionId":"{session_id}","sessionSequence":{session_sequence},'
        f'"stream":"{stream}","streamVersion":{stream_version},'
        f'"occurredAt":"{occurred_at.isoformat()}","correlationId":"{correlation_id}",'
        f'"causationId":"{causation_id}","data":{data_json}}}'
    ).encode()


def decode_command(body: bytes) -> AnyCommand:
    """Read a command.

    Raises:
        Undecodable: too large, not JSON, unknown type, missing or invalid fields.
    """
    _check_size(body, COMMAND_LIMIT)
    try:
        return _COMMAND.validate_json(body)
    except ValidationError as error:
        raise Undecodable(_summary(error)) from error


def decode_reply(body: bytes) -> Reply:
    """Read a reply.

    Raises:
        Undecodable: not JSON, or missing or invalid fields.
    """
    return _decoded(Reply, body)


def decode_heartbeat(body: bytes) -> Heartbeat:
    """Read a heartbeat.

    Raises:
        Undecodable: not JSON, or missing or invalid fields.
    """
    return _decoded(Heartbeat, body)


def decode_partition_replayed(body: bytes) -> PartitionReplayed:
    """Read the end of a partition's replay.

    Raises:
        Undecodable: not JSON, or missing or invalid fields.
    """
    return _decoded(PartitionReplayed, body)


def _decoded(model: type[Model], body: bytes) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise Undecodable(_summary(error)) from error


def decode_bundle(body: bytes) -> Sequence[BundledEvent]:
    """Take a bundle apart; what is in it is not read yet.

    Raises:
        Undecodable: too large, or not a bundle.
    """
    _check_size(body, EVENT_LIMIT)
    try:
        return split_bundle(body)
    except ValidationError as error:
        raise Undecodable(f"not a bundle of events: {_summary(error)}") from error
    except ValueError as error:
        raise Undecodable(f"not a bundle of events: {type(error).__name__}") from error


def decode_event(body: bytes | str) -> Envelope:
    """Read an event of any known type and version; older versions come out as the newest.

    Raises:
        Undecodable: too large, not JSON, unknown type, a version newer than known, or invalid fields.
    """
    _check_size(body, EVENT_LIMIT)
    return newest_event(body) or read_event(read_event_json(body))


def read_event_json(body: bytes | str) -> Any:
    """What a body says as JSON, for `read_event`.

    Raises:
        Undecodable: too large, or not JSON.
    """
    _check_size(body, EVENT_LIMIT)
    try:
        return from_json(body)
    except ValueError as error:
        raise Undecodable(f"not JSON: {error}") from error


def read_event(raw: Any) -> Envelope:
    """`decode_event` on what was read from JSON.

    Raises:
        Undecodable: unknown type, a version newer than known, or invalid fields.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("data"), dict):
        raise Undecodable("not an event envelope")
    try:
        event = decode_event_data(raw["type"], raw["version"], raw["data"])
        return Envelope.model_validate(raw | {"data": event, "version": event.VERSION})
    except (KeyError, TypeError) as error:
        raise Undecodable(f"unknown event type or version: {error}") from error
    except ValidationError as error:
        raise Undecodable(_summary(error)) from error


def decode_event_data(event_type: str, version: int, data: dict[str, Any]) -> Event:
    """The typed event, brought to its newest version.

    Raises:
        KeyError: unknown type, or a version that no upcaster covers.
        pydantic.ValidationError: the data lacks a field or has an invalid one.
    """
    model = EVENT_TYPES[event_type]
    return model.model_validate(upcast(event_type, version, data, to_version=model.VERSION))


def decode_event_json(event_type: str, version: int, data_json: str) -> Event:
    """`decode_event_data` on JSON text, quick where the version is the newest.

    Raises:
        KeyError: unknown type, or a version that no upcaster covers.
        pydantic.ValidationError: the data lacks a field or has an invalid one.
    """
    model = EVENT_TYPES[event_type]
    if version == model.VERSION:
        return model.model_validate_json(data_json)
    return decode_event_data(event_type, version, from_json(data_json))


def _check_size(body: bytes | str, limit: int) -> None:
    if len(body) > limit:
        raise Undecodable(f"{len(body):,} bytes, more than {limit:,}")


def _summary(error: ValidationError) -> str:
    """What is wrong and where, without the input's values: they may be private."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    )
