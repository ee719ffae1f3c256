"""POST /api/messages/send: requests that are refused for what they say."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.api.running import RunningApi
from tests.integration.api.scripted_host import ScriptedHost
from tests.integration.api.sending import SEND, TEXT, assert_problem
from wa_contracts.internal.commands import SendMessage

INVALID: list[tuple[str, Any, str]] = [
    ("plus", {**TEXT, "to": "+919876543210"}, "to"),
    ("spaces", {**TEXT, "to": "91 9876543210"}, "to"),
    ("zero", {**TEXT, "to": "0919876543210"}, "to"),
    ("short", {**TEXT, "to": "919876"}, "to"),
    ("long", {**TEXT, "to": "9198765432101234"}, "to"),
    ("number", {**TEXT, "to": 919876543210}, "to"),
    ("jid", {**TEXT, "to": "someone@example.com"}, "to"),
    ("no to", {"type": "text", "message": "x"}, "to"),
    ("no type", {"to": TEXT["to"], "message": "x"}, "type"),
    ("unknown type", {**TEXT, "type": "unheard_of"}, "type"),
    ("no message", {"to": TEXT["to"], "type": "text"}, "message"),
    ("empty message", {**TEXT, "message": ""}, "message"),
    ("long message", {**TEXT, "message": "x" * 65_537}, "message"),
    ("nul", {**TEXT, "message": "a\x00b"}, "message"),
    ("nul reference", {**TEXT, "reference": "\x00"}, "reference"),
    ("long reference", {**TEXT, "reference": "x" * 129}, "reference"),
    ("no media", {"to": TEXT["to"], "type": "image"}, "mediaUrl"),
    (
        "space",
        {"to": TEXT["to"], "type": "image", "mediaUrl": " https://example.com/a"},
        "mediaUrl",
    ),
    ("no scheme", {"to": TEXT["to"], "type": "image", "mediaUrl": "example.com/a.jpg"}, "mediaUrl"),
    ("scheme", {"to": TEXT["to"], "type": "image", "mediaUrl": "ftp://example.com/a"}, "mediaUrl"),
    ("file", {"to": TEXT["to"], "type": "image", "mediaUrl": "file:///etc/passwd"}, "mediaUrl"),
    ("user", {"to": TEXT["to"], "type": "image", "mediaUrl": "http://a:b@example.com"}, "mediaUrl"),
    ("loopback", {"to": TEXT["to"], "type": "image", "mediaUrl": "http://127.0.0.1/a"}, "mediaUrl"),
    ("short loopback", {"to": TEXT["to"], "type": "image", "mediaUrl": "http://127.1"}, "mediaUrl"),
    ("v6", {"to": TEXT["to"], "type": "image", "mediaUrl": "http://[::1]:80/a"}, "mediaUrl"),
    (
        "mapped",
        {"to": TEXT["to"], "type": "image", "mediaUrl": "http://[::ffff:a00:1]"},
        "mediaUrl",
    ),
    (
        "metadata",
        {"to": TEXT["to"], "type": "image", "mediaUrl": "http://169.254.169.254/latest"},
        "mediaUrl",
    ),
    ("outside", {"to": TEXT["to"], "type": "image", "mediaUrl": "../secret.jpg"}, "mediaUrl"),
    ("absolute", {"to": TEXT["to"], "type": "image", "mediaUrl": "/etc/passwd"}, "mediaUrl"),
    ("not an object", [1], "body"),
]


@pytest.mark.parametrize(
    ("body", "field"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID]
)
async def test_invalid(
    client: httpx.AsyncClient, host: ScriptedHost, body: object, field: str
) -> None:
    problem = assert_problem(await client.post(SEND, json=body), 400, "invalid_request")
    assert [detail["field"] for detail in problem["details"]] == [field]
    assert problem["details"][0]["message"] in problem["error"]
    assert not host.commands(SendMessage)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff",
        b'{"to":"919876543210","type":"text","message":"\\ud800"}',
        b'{"to":"919876543210","type":"text","message":"\xed\xa0\x80"}',
    ],
)
async def test_not_json(client: httpx.AsyncClient, raw: bytes) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await client.post(SEND, content=raw, headers=headers)
    assert assert_problem(answer, 400, "invalid_request")["details"][0]["field"] == "body"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Idempotency-Key", "a b"),
        ("Idempotency-Key", "x" * 256),
        ("Idempotency-Key", ""),
        ("X-Expires-In", "0"),
        ("X-Expires-In", "-1"),
        ("X-Expires-In", "soon"),
        ("X-Expires-In", str(30 * 86_400)),
    ],
)
async def test_invalid_header(client: httpx.AsyncClient, header: str, value: str) -> None:
    answer = await client.post(SEND, json=TEXT, headers={header: value})
    assert assert_problem(answer, 400, "invalid_request")["details"][0]["field"] == header


@pytest.mark.parametrize("authorization", [None, "Bearer wams_wrong", "Basic eA==", "Bearer"])
async def test_unauthorized(api: RunningApi, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = await api.anonymous.post(SEND, json=TEXT, headers=headers)
    assert_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_too_large(client: httpx.AsyncClient) -> None:
    assert_problem(
        await client.post(SEND, json={**TEXT, "unknown": "x" * 262_144}), 413, "body_too_large"
    )

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 65_536

    headers = {"Content-Type": "application/json"}
    answer = await client.post(SEND, content=chunks(), headers=headers)
    assert_problem(answer, 413, "body_too_large")


async def test_not_json_type(client: httpx.AsyncClient) -> None:
    answer = await client.post(SEND, data={"to": TEXT["to"]})
    assert_problem(answer, 415, "unsupported_media_type")
