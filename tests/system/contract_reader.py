"""A consumer that knows the AsyncAPI document and nothing else of the product."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

DOCUMENT = "urn:asyncapi"
FORMATS = FormatChecker(("uuid",))
FORMATS.checks("date-time", raises=ValueError)(
    lambda value: not isinstance(value, str) or bool(datetime.fromisoformat(value))
)


class ContractReader:
    """Understands events by their routing key, as the document's channels describe them."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._registry: Registry[Any] = Registry().with_resource(
            DOCUMENT, DRAFT202012.create_resource(dict(document))
        )
        self.exchange = ""
        self._channels: dict[re.Pattern[str], dict[str, Any]] = {}
        for channel in document["channels"].values():
            amqp = channel["bindings"]["amqp"]
            if amqp["is"] == "routingKey":
                self.exchange = amqp["exchange"]["name"]
                [reference] = [message["$ref"] for message in channel["messages"].values()]
                pattern = re.sub(r"\\\{\w+\\\}", "[^.]+", re.escape(channel["address"]))
                self._channels[re.compile(pattern)] = self._resolved(reference)["payload"]

    def understand(self, routing_key: str, body: bytes) -> list[str]:
        """What in this event is not as the document says; nothing if all is understood."""
        found = [schema for key, schema in self._channels.items() if key.fullmatch(routing_key)]
        if len(found) != 1:
            return [f"no channel has the address {routing_key}"]
        event = json.loads(body)
        wrong = [error.message for error in self._validator(found[0]).iter_errors(event)]
        return wrong + [f"{at} is not in the document" for at in self._unknown(event, found[0])]

    def _validator(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        text = json.dumps(schema).replace('"#/', f'"{DOCUMENT}#/')
        return Draft202012Validator(
            json.loads(text), registry=self._registry, format_checker=FORMATS
        )

    def _unknown(self, value: Any, schema: Mapping[str, Any], at: str = "event") -> Iterator[str]:
        """The fields that are there and not described. The names in a map are its writer's."""
        if "$ref" in schema:
            schema = self._resolved(schema["$ref"])
        if isinstance(schema.get("additionalProperties"), dict):
            return
        if isinstance(value, dict):
            for name, inner in value.items():
                described = schema.get("properties", {}).get(name)
                if described is None:
                    yield f"{at}.{name}"
                else:
                    yield from self._unknown(inner, described, f"{at}.{name}")

    def _resolved(self, reference: str) -> dict[str, Any]:
        found: Any = self._document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        assert isinstance(found, dict)
        return found
