"""The checked-in schemas and the AsyncAPI document are those of the models, and hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from wa_contracts.asyncapi import as_text, asyncapi_document, schemas
from wa_contracts.codec import EVENT_TYPES, decode_event, encode
from wa_contracts.envelope import Envelope
from wa_contracts.examples import EXAMPLES
from wa_contracts.topology import QUEUES

FOLDER = Path(__file__).parents[3] / "libs/contracts/schemas"
DOCUMENT = asyncapi_document()


def test_the_checked_in_files_are_those_of_the_models() -> None:
    expected = {name: as_text(content) for name, content in schemas()}
    expected["asyncapi.json"] = as_text(DOCUMENT)
    found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert found == expected, "run: python -m wa_contracts.asyncapi"


@pytest.mark.parametrize("name", [name for name, _ in schemas()])
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(dict(schemas())[name])


def test_there_is_an_example_of_every_event() -> None:
    assert {envelope.type for envelope in EXAMPLES} == set(EVENT_TYPES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.type)
def test_every_event_is_valid_by_its_schema_and_by_the_asyncapi_document(
    example: Envelope,
) -> None:
    published = json.loads(encode(example))
    Draft202012Validator(dict(schemas())[f"{example.type}.v{example.version}.json"]).validate(
        published
    )
    asyncapi_validator(example.type).validate(published)
    assert decode_event(encode(example)) == example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.type)
def test_another_type_or_missing_data_is_invalid(example: Envelope) -> None:
    published = json.loads(encode(example))
    validator = asyncapi_validator(example.type)
    with pytest.raises(ValidationError):
        validator.validate(published | {"type": "message.vanished"})
    with pytest.raises(ValidationError):
        validator.validate({k: v for k, v in published.items() if k != "data"})


def asyncapi_validator(event_type: str) -> Draft202012Validator:
    """A validator built from the AsyncAPI document alone, as a consumer would."""
    channel = DOCUMENT["channels"][event_type]
    (reference,) = [message["$ref"] for message in channel["messages"].values()]
    message: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        message = message[part]
    whole = DRAFT202012.create_resource(DOCUMENT)
    registry: Registry[Any] = Registry().with_resource("urn:document", whole)
    pointed = json.loads(
        json.dumps(message["payload"]).replace('"#/components', '"urn:document#/components')
    )
    return Draft202012Validator(pointed, registry=registry)


def test_channels_are_the_routing_keys_and_the_log_has_them_all() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert addresses == {f"v1.{{sessionId}}.{name}" for name in EVENT_TYPES} | {"wa.events.log"}
    (stream,) = [queue for queue in QUEUES if queue.name == "wa.events.log"]
    bound = {key.removeprefix("v1.*.") for _, key in stream.bindings}
    assert bound == set(EVENT_TYPES) - {"session.qr_issued"}
