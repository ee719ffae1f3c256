"""The AsyncAPI document is one by AsyncAPI's own schema, as its makers publish it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.npm import installed
from wa_contracts.asyncapi import asyncapi_document


@pytest.fixture(scope="module")
def specification() -> Draft7Validator:
    """The schema for the version that the document claims."""
    specs = installed(Path(__file__).parent / "asyncapi_specs") / "node_modules/@asyncapi/specs"
    version = asyncapi_document()["asyncapi"]
    schema = json.loads((specs / "schemas" / f"{version}.json").read_text())
    return Draft7Validator(schema)


def test_the_document_is_valid(specification: Draft7Validator) -> None:
    specification.validate(asyncapi_document())


def _without_title(document: Any) -> None:
    del document["info"]["title"]


def _with_an_unknown_part(document: Any) -> None:
    document["subscriptions"] = {}


def _with_an_unknown_action(document: Any) -> None:
    next(iter(document["operations"].values()))["action"] = "subscribe"


def _with_a_binding_of_no_sense(document: Any) -> None:
    next(iter(document["channels"].values()))["bindings"]["amqp"]["is"] = "topic"


@pytest.mark.parametrize(
    "spoil",
    [_without_title, _with_an_unknown_part, _with_an_unknown_action, _with_a_binding_of_no_sense],
)
def test_what_is_spoilt_is_invalid(
    specification: Draft7Validator, spoil: Callable[[Any], None]
) -> None:
    document = asyncapi_document()
    spoil(document)
    assert not specification.is_valid(document)
