"""What one client may ask of the api: how large, how deep, how slow, how often, how much at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.integration.api.running import RunningApi, running_api
from tests.integration.api.scripted_host import NUMBER, ScriptedHost
from wa_api.http import request_body
from wa_api.http.request_body import BODY_LIMIT
from wa_api.serving import guarded_http, server
from wa_api.serving.guarded_http import HEAD_LIMIT
from wa_api.settings import Settings
from wa_contracts.internal.commands import SendMessage

TEXT = {"to": NUMBER, "type": "text", "message": "Hello"}
SEND = "POST /api/messages/send HTTP/1.1\r\nHost: x\r\n"
LIVE = "GET /livez HTTP/1.1\r\nHost: x\r\n"


class Wire:
    """A connection on which anything may be said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, text: str | bytes) -> None:
        """Send this; the other side may have gone."""
        try:
            self._writer.write(text.encode() if isinstance(text, str) else text)
            await self._writer.drain()
        except ConnectionError:
            return

    async def hear(self, within: float = 10) -> tuple[int | None, dict[str, Any]]:
        """All that comes until the other side closes: status (None: nothing) and body."""
        heard = b""
        async with asyncio.timeout(within):
            try:
                while more := await self._reader.read(65536):
                    heard += more
            except ConnectionError:
                pass
        if not heard:
            return None, {}
        head, _, body = heard.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body) if body else {}

    async def answer(self) -> int:
        """The status of one answer, on a connection that stays open."""
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 10)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head.split()[1])


@pytest.fixture
async def wires() -> AsyncIterator[AsyncExitStack]:
    """Closes them."""
    async with AsyncExitStack() as stack:
        yield stack


async def connect(api: RunningApi, stack: AsyncExitStack) -> Wire:
    """A new connection."""
    address = httpx.URL(api.base_url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    stack.callback(writer.close)
    return Wire(reader, writer)


async def test_body_size(api: RunningApi, host: ScriptedHost, wires: AsyncExitStack) -> None:
    session = await api.new_session(host)
    client = api.client(session["token"])
    at_most = {**TEXT, "more": "x" * (BODY_LIMIT - len(json.dumps({**TEXT, "more": ""})))}
    for body, status in ((at_most, 200), ({**at_most, "to": f"{NUMBER}0"}, 413)):
        text = json.dumps(body)
        answer = await client.post(
            "/api/messages/send", content=text, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == status, answer.text
    endless = await connect(api, wires)
    await endless.say(
        f"{SEND}Authorization: Bearer {session['token']}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for _ in range(BODY_LIMIT // 65536 + 1):
        await endless.say(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert await endless.answer() == 413


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [1_000, 40_000])
async def test_depth_of_json(api: RunningApi, host: ScriptedHost, opening: str, depth: int) -> None:
    session = await api.new_session(host, linked=False)
    for client, path in (
        (api.client(session["token"]), "/api/messages/send"),
        (api.admin, "/api/sessions"),
        (api.admin, "/api/webhooks"),
        (api.anonymous, "/login"),
    ):
        body = f'{{"to":"{NUMBER}","type":"text","message":"x","more":{opening * depth}'
        answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, (path, answer.text)
        assert "JSON" in answer.json()["error"]


@pytest.mark.parametrize(
    "head",
    [
        f"GET /livez?{'x' * HEAD_LIMIT} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"{LIVE}X-Long: {'x' * HEAD_LIMIT}\r\n\r\n",
        f"{LIVE}X-Endless: {'x' * 4 * HEAD_LIMIT}",
        LIVE + "X-Many: 1\r\n" * HEAD_LIMIT,
    ],
)
async def test_size_of_headers(api: RunningApi, wires: AsyncExitStack, head: str) -> None:
    wire = await connect(api, wires)
    await wire.say(head)
    status, body = await wire.hear()
    assert (status, body.get("code")) in {(431, "headers_too_large"), (None, None)}
    fine = await connect(api, wires)
    await fine.say(f"{LIVE}X-Long: {'x' * (HEAD_LIMIT - 100)}\r\n\r\n")
    assert await fine.answer() == 200


@pytest.mark.parametrize("said", ["hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02"])
async def test_what_is_no_request(api: RunningApi, wires: AsyncExitStack, said: str) -> None:
    wire = await connect(api, wires)
    await wire.say(said)
    status, body = await wire.hear()
    assert (status, body["code"], body["success"]) == (400, "invalid_request", False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of time that a test can wait for."""
    monkeypatch.setattr(guarded_http, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.3)


@pytest.mark.usefixtures("impatient")
async def test_slow_clients(api: RunningApi, host: ScriptedHost, wires: AsyncExitStack) -> None:
    session = await api.new_session(host)
    silent, half, newlines, slow_body, slow_rest = [await connect(api, wires) for _ in range(5)]
    bearer = f"Authorization: Bearer {session['token']}\r\nContent-Type: application/json\r\n"
    await half.say(LIVE)
    await newlines.say("\r\n")
    await slow_body.say(f'{SEND}{bearer}Content-Length: 100\r\n\r\n{{"to":')
    await slow_rest.say(f"{SEND}Content-Length: 100\r\n\r\nx")
    assert await silent.hear() == (None, {})
    status, body = await half.hear()
    assert (status, body["code"]) == (408, "request_too_slow")
    assert (await newlines.hear())[0] in {None, 408}
    status, body = await slow_body.hear()
    assert (status, body["code"]) == (408, "request_too_slow")
    status, body = await slow_rest.hear()  # answered without its body, which never ends
    assert (status, body["code"]) == (401, "unauthorized")


@pytest.mark.usefixtures("impatient")
async def test_a_head_that_drips(api: RunningApi, wires: AsyncExitStack) -> None:
    wire = await connect(api, wires)

    async def drip() -> None:
        for letter in LIVE * 100:
            await wire.say(letter)
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    status, _ = await wire.hear(within=5)
    dripping.cancel()
    assert status in {408, None}


@pytest.mark.usefixtures("impatient")
async def test_a_connection_is_kept_for_who_waits_for_an_answer(
    api: RunningApi, host: ScriptedHost, wires: AsyncExitStack
) -> None:
    session = await api.new_session(host)
    answered = asyncio.Event()

    async def late(command: Any) -> None:
        await asyncio.sleep(1.0)
        answered.set()
        await host.sent(command)

    host.answers[SendMessage] = late
    wire = await connect(api, wires)
    body = json.dumps(TEXT)
    request = (
        f"{SEND}Authorization: Bearer {session['token']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    await wire.say(request + LIVE[:10])  # the next request begins, and does not go on
    assert await wire.answer() == 200
    assert answered.is_set()


async def test_an_idle_connection_is_kept_longer_than_clients_keep_theirs(
    settings: Settings, wires: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max({"aiohttp": 15, "nginx": 60, "Go": 90}.values()) < server.KEEP_ALIVE_SECONDS
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 0.3)
    async with running_api(settings) as api:
        wire = await connect(api, wires)
        for _ in range(3):
            await wire.say(f"{LIVE}\r\n")
            assert await wire.answer() == 200
        assert await wire.hear() == (None, {})
