"""The published contract: JSON Schemas of all messages and an AsyncAPI 3 document of the events.

Both are generated from the models. `python -m wa_contracts.asyncapi` writes them to
`libs/contracts/schemas/`; a test compares the files with the models.
"""

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from wa_contracts.codec import EVENT_TYPES, encode
from wa_contracts.envelope import Envelope
from wa_contracts.examples import EXAMPLES
from wa_contracts.internal.commands import AnyCommand, Command
from wa_contracts.session_events import Event
from wa_contracts.topology import EVENT_LOG, EVENTS, LOG_MAX_AGE, LOG_MAX_BYTES

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_REFERENCES = "#/components/schemas/{model}"


def command_types() -> tuple[type[Command], ...]:
    union, *_ = get_args(AnyCommand)
    return get_args(union)


def described(event: type[Event]) -> str:
    """The event's description, with its fields named as in JSON."""
    text = inspect.cleandoc(event.__doc__ or "")
    for name, field in event.model_fields.items():
        text = text.replace(f"`{name}`", f"`{field.serialization_alias or name}`")
    return text


def event_schema(event: type[Event]) -> Json:
    """JSON Schema (2020-12) of an event in its envelope."""
    envelope = Envelope.model_json_schema(mode="serialization")
    data = event.model_json_schema(mode="serialization") | {"description": described(event)}
    definitions = envelope.pop("$defs", {}) | data.pop("$defs", {})
    definitions.pop("Event", None)
    properties = envelope["properties"] | {
        "type": {"const": event.TYPE},
        "version": {"const": event.VERSION},
        "data": data,
    }
    schema = envelope | {
        "$schema": DIALECT,
        "title": event.__name__,
        "description": described(event),
        "properties": properties,
    }
    return schema | ({"$defs": definitions} if definitions else {})


def command_schema(command: type[Command]) -> Json:
    return {"$schema": DIALECT} | command.model_json_schema(mode="serialization")


def schemas() -> Iterator[tuple[str, Json]]:
    """File name and schema of every event and command in its current version."""
    for event in EVENT_TYPES.values():
        yield f"{event.TYPE}.v{event.VERSION}.json", event_schema(event)
    for command in command_types():
        yield f"{command.__name__}.v{command.VERSION}.json", command_schema(command)


def asyncapi_document() -> Json:
    """The AsyncAPI 3.0 document of the events: channels, messages, bindings, examples."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "WhatsApp Multi-Session Manager: events",
            "version": "1",
            "description": _DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "servers": {
            "rabbitmq": {
                "host": "localhost:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ, with credentials of your own.",
            }
        },
        "channels": {
            **{event.TYPE: _channel(event) for event in EVENT_TYPES.values()},
            EVENT_LOG: _log_channel(),
        },
        "operations": {
            f"consume.{event.TYPE}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{_escaped(event.TYPE)}"},
                "summary": described(event),
            }
            for event in EVENT_TYPES.values()
        }
        | {
            f"read.{EVENT_LOG}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{EVENT_LOG}"},
                "summary": "Begin in the past, with the consumer's argument `x-stream-offset`.",
            }
        },
        "components": {
            "messages": {event.__name__: _message(event) for event in EVENT_TYPES.values()},
            "schemas": _data_schemas(),
        },
    }


_DESCRIPTION = (
    f"Bind a queue of your own to the topic exchange `{EVENTS}`, for example with "
    "`v1.*.message.sent`. Order: `sessionSequence`, gapless per session over all event types. "
    f"At least once: the same sequence may come twice. The stream `{EVENT_LOG}` keeps the past; "
    "consume it with the argument `x-stream-offset`. In it `session.qr_issued` has `qr: null`."
)


def _channel(event: type[Event]) -> Json:
    return {
        "address": f"v1.{{sessionId}}.{event.TYPE}",
        "title": event.__name__,
        "parameters": {"sessionId": {"description": "The session's id; `*` in a binding: any."}},
        "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": EVENTS, "type": "topic", "durable": True, "vhost": "/"},
            }
        },
    }


def _log_channel() -> Json:
    return {
        "address": EVENT_LOG,
        "title": "The log of all events",
        "description": f"A stream that keeps {LOG_MAX_AGE} and {LOG_MAX_BYTES:,} bytes.",
        "messages": {
            event.__name__: {"$ref": f"#/components/messages/{event.__name__}"}
            for event in EVENT_TYPES.values()
        },
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {
                    "name": EVENT_LOG,
                    "durable": True,
                    "exclusive": False,
                    "autoDelete": False,
                    "vhost": "/",
                },
            }
        },
    }


def _examples(event: type[Event]) -> list[Json]:
    return [
        {"name": event.TYPE, "payload": json.loads(encode(example))}
        for example in EXAMPLES
        if example.type == event.TYPE
    ]


def _message(event: type[Event]) -> Json:
    envelope = Envelope.model_json_schema(mode="serialization")
    properties: Json = envelope["properties"] | {
        "type": {"const": event.TYPE},
        "version": {"const": event.VERSION},
        "data": {"$ref": _REFERENCES.format(model=event.__name__)},
    }
    return {
        "name": event.TYPE,
        "title": event.__name__,
        "summary": described(event),
        "contentType": "application/json",
        "payload": {
            "type": "object",
            "properties": properties,
            "required": envelope["required"],
        },
        "examples": _examples(event),
    }


def _data_schemas() -> Mapping[str, Any]:
    models: list[type[BaseModel]] = list(EVENT_TYPES.values())
    _, definitions = models_json_schema(
        [(model, "serialization") for model in models], ref_template=_REFERENCES
    )
    named: dict[str, Any] = definitions["$defs"]
    for event in EVENT_TYPES.values():
        named[event.__name__]["description"] = described(event)
    return named


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def write(folder: Path) -> None:
    """Write every schema and the AsyncAPI document; delete files that are no longer published."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {**dict(schemas()), "asyncapi.json": asyncapi_document()}
    for path in folder.glob("*.json"):
        if path.name not in files:
            path.unlink()
    for name, content in files.items():
        (folder / name).write_text(as_text(content))


def as_text(content: Json) -> str:
    """Serialize as in the checked-in files."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "libs/contracts/schemas"))
