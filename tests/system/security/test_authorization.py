"""Every endpoint for every kind of caller, as authorization.txt has it; no endpoint is left out."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute, Mount, Route

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.ring import Ring
from wa_api.access.rate_limit import RateLimit
from wa_api.access.scopes import Scope
from wa_api.http.parts import Parts
from wa_api.serving.app import build_app
from wa_api.serving.metrics import ApiMetrics

CALLERS = ("nobody", "wrong", "other", "own", "admin", "cookie", "csrf", "limited")
STRANGERS = ("nobody", "wrong", "other", "limited")
KEYS = (*(str(scope) for scope in Scope), "tokens:read+sessions:write")
"""API keys by their scopes."""
KEY = {"name": "made", "scopes": ["sessions:read"]}
CODES = {"401": "unauthorized", "403": "csrf_failed"}
NOT_ROUTES = {"GET /metrics"}
TO = "919876543210"
TEXT: dict[str, Any] = {"to": TO, "type": "text", "message": "Hello World!"}
WEBHOOK = {"url": "https://example.com/whatsapp"}
EVENT_STREAM = "text/event-stream"

PARAMETER = re.compile(r"\{(\w+)=(\w+)\}")


@dataclass(frozen=True)
class Row:
    """A line of the table: a request and what each caller gets."""

    method: str
    address: str
    cells: dict[str, str]
    scopes: str

    def wanted(self, caller: str) -> str:
        """The cell of a caller, or of an API key whose scopes are the caller's name."""
        if caller in self.cells:
            return self.cells[caller]
        if self.scopes == "any":
            return self.cells["nobody"]
        if self.scopes in {"-", "token"}:
            return "403:forbidden" if self.scopes == "-" else "401"
        needed, _, special = self.scopes.partition("=")
        enough = [set(one.split("+")) for one in needed.split(",")]
        if not any(one <= set(caller.split("+")) for one in enough):
            return "403:insufficient_scope"
        return special or self.cells["admin"]

    @property
    def route(self) -> str:
        """As the application names it: without query and subjects."""
        path = PARAMETER.sub(r"{\1}", self.address.partition("?")[0])
        return f"{self.method} {path}"


def rows() -> Iterator[Row]:
    """The table."""
    for line in (Path(__file__).parent / "authorization.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            method, address, *cells, scopes = line.split()
            yield Row(method, address, dict(zip(CALLERS, cells, strict=True)), scopes)


ROWS = tuple(rows())


@dataclass
class GuardedRing:
    """A ring with what can be asked about, and who asks."""

    ring: Ring
    callers: dict[str, httpx.AsyncClient]
    subjects: dict[str, str]
    fresh: dict[str, Callable[[], Awaitable[str]]]
    own_ids: tuple[str, ...]
    bodies: dict[str, Any] = field(default_factory=dict)

    async def url(self, row: Row, *, may: bool) -> str:
        """The row's address with its subjects; `may`: with ones that the request may use up."""
        at, _, path = row.address.rpartition(":")
        base = self.ring.url()
        if at:
            own = self.ring.processes[at].orders.env
            port = next(own[k] for k in ("HEALTH_PORT", "METRICS_PORT") if k in own)
            base = f"http://127.0.0.1:{port}"
        for name, subject in PARAMETER.findall(path):
            found = self.subjects[subject]
            if may and subject in self.fresh:
                found = await self.fresh[subject]()
            path = path.replace(f"{{{name}={subject}}}", quote(found))
        return base + path

    async def ask(self, row: Row, caller: str) -> tuple[int, str, str]:
        """Status, code if it is an error, and what the answer says."""
        url = await self.url(row, may=row.wanted(caller).startswith("2"))
        client = self.callers[caller]
        client.cookies.clear()
        body = self.bodies.get(f"{row.method} {row.address}", self.bodies.get(row.route))
        headers = {"Prefer": "respond-async", "Last-Event-ID": "0", "Accept": "application/json"}
        request = client.build_request(row.method, url, json=body, headers=headers)
        answer = await client.send(request, stream=True)
        try:
            text = await asyncio.wait_for(_text(answer), 10)
        finally:
            await answer.aclose()
        code = re.search(r'"code":"(\w+)"', text) if answer.status_code >= 400 else None
        return answer.status_code, code[1] if code else "", text


async def _text(answer: httpx.Response) -> str:
    """All that is answered; of a stream without end, as far as its first event."""
    if not answer.headers.get("content-type", "").startswith(EVENT_STREAM):
        return (await answer.aread()).decode()
    text = ""
    async for chunk in answer.aiter_text():
        text += chunk
        if "data:" in text:
            break
    return text


@pytest.fixture(scope="module")
async def guarded_ring(new_ring: NewRing) -> AsyncIterator[GuardedRing]:
    """The guarded_ring of this module. Its session is stopped, so that its messages queue."""
    ring = await new_ring(environment={"SIMULATED_LINKS_AFTER": "0.1"})
    own, other = await ring.create_session("own"), await ring.create_session("other")
    for session in (own, other):
        await ring.wait_for_status(session["sessionId"], "working")
    sent = (await ring.send(own["token"], **TEXT)).json()
    await ring.send(own["token"], **{**TEXT, "to": "919876540001"})

    async def found_failed() -> str:
        listed = (await ring.client(own["token"]).get("/api/messages?status=failed")).json()
        return str(listed["items"][0]["id"]) if listed["items"] else ""

    failed = await eventually(found_failed, what="the refused message is listed")
    await ring.admin.post(f"/api/sessions/{own['sessionId']}/stop")
    await ring.wait_for_status(own["sessionId"], "stopped")

    async def queued() -> str:
        answer = await ring.send(own["token"], headers={"Prefer": "respond-async"}, **TEXT)
        return str(answer.json()["id"])

    async def new_session() -> str:
        return str((await ring.create_session("fresh"))["sessionId"])

    async def webhook() -> str:
        return str((await ring.admin.post("/api/webhooks", json=WEBHOOK)).json()["id"])

    async def upload() -> str:
        made = await ring.client(own["token"]).post("/api/media", content=b"a file")
        return str(made.json()["mediaId"])

    async def key() -> str:
        made = await ring.admin.post("/api/keys", json=KEY)
        return str(made.json()["id"])

    standing, uploaded = await webhook(), await upload()
    tried = (await ring.admin.post(f"/api/webhooks/{standing}/test")).json()
    subjects = {
        "session": own["sessionId"],
        "fresh_session": own["sessionId"],
        "message": sent["id"],
        "whatsapp_id": sent["messageId"],
        "failed": failed,
        "queued": await queued(),
        "webhook": standing,
        "fresh_webhook": standing,
        "fresh_key": str(uuid4()),
        "delivery": tried["id"],
        "upload": uploaded,
        "fresh_upload": uploaded,
        "absent": str(uuid4()),
        "admin_key": ring.admin_key,
        "file": "icon.svg",
        "number": TO,
        "group": "120363000000000001@g.us",
    }
    tokens = {
        "nobody": None,
        "wrong": "wams_" + "0" * 43,
        "other": other["token"],
        "own": own["token"],
        "admin": ring.admin_key,
    }
    callers = {name: ring.client(token) for name, token in tokens.items()}
    callers |= await browsers(ring)
    every = [str(scope) for scope in Scope]
    callers["limited"] = ring.client(await new_key(ring, every, [other["sessionId"]]))
    for scopes in KEYS:
        callers[scopes] = ring.client(await new_key(ring, scopes.split("+")))
    yield GuardedRing(
        ring,
        callers,
        subjects,
        fresh={
            "queued": queued,
            "fresh_session": new_session,
            "fresh_webhook": webhook,
            "fresh_upload": upload,
            "fresh_key": key,
        },
        own_ids=(own["sessionId"], own["token"], sent["id"], sent["messageId"], failed),
        bodies={
            "POST /api/messages/send": TEXT,
            "POST /api/messages/send?body=sessionId": {**TEXT, "sessionId": own["sessionId"]},
            "POST /api/keys": KEY,
            "POST /api/keys?body=own": {
                "name": "one more",
                "scopes": ["keys:write"],
                "sessionIds": [other["sessionId"]],
            },
            "PATCH /api/sessions/{session_id}": {"metadata": {"customer": "4711"}},
            "PATCH /api/messages/{key}": {"message": "Hello!"},
            "POST /api/chats/{to}/typing": {"state": "typing", "sessionId": own["sessionId"]},
            "POST /api/numbers/check": {"numbers": [TO], "sessionId": own["sessionId"]},
            "POST /api/sessions": {"name": "made"},
            "POST /api/media": {"any": "file"},
            "POST /api/sessions/{session_id}/pairing-code": {"phoneNumber": TO},
            "POST /api/webhooks": WEBHOOK,
            "PATCH /api/webhooks/{webhook_id}": {"paused": False},
            "POST /login": {"key": ring.admin_key},
        },
    )
    await ring.stop()


async def new_key(ring: Ring, scopes: list[str], sessions: list[str] | None = None) -> str:
    """An API key."""
    body = {"name": "+".join(scopes)[:100], "scopes": scopes, "sessionIds": sessions}
    made = await ring.admin.post("/api/keys", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


async def browsers(ring: Ring) -> dict[str, httpx.AsyncClient]:
    """A signed-in browser's requests, without and with its CSRF token."""
    signed_in = await ring.client(None).post("/login", json={"key": ring.admin_key})
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    without, having = ring.client(None), ring.client(None)
    for client in (without, having):
        client.headers["Cookie"] = cookie
    page = (await having.get("/")).text
    found = re.search(r'<meta name="csrf-token" content="(\w+)">', page)
    assert found
    having.headers["X-CSRF-Token"] = found[1]
    return {"cookie": without, "csrf": having}


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.method} {row.address}" for row in ROWS])
async def test_each_caller_gets_what_the_table_says(guarded_ring: GuardedRing, row: Row) -> None:
    callers = (*CALLERS, *KEYS)
    answers = await asyncio.gather(*(guarded_ring.ask(row, caller) for caller in callers))
    for caller, (status, code, text) in zip(callers, answers, strict=True):
        wanted, _, wanted_code = row.wanted(caller).partition(":")
        wanted_code = wanted_code or CODES.get(wanted, code)
        assert (str(status), code) == (wanted, wanted_code), (caller, text[:300])
        if caller in STRANGERS:
            assert not [one for one in guarded_ring.own_ids if one in text], caller
        assert guarded_ring.ring.admin_key not in text


def single_routes(app: FastAPI) -> Iterator[BaseRoute]:
    """The routes of an application, those of included routers among them."""
    for route in app.routes:
        included = getattr(route, "original_router", None)
        yield from included.routes if included is not None else (route,)


def test_every_route_is_in_the_table() -> None:
    app = build_app(Parts(RateLimit(1, time.monotonic, burst=1)), ApiMetrics(CollectorRegistry()))
    routes = set()
    for route in single_routes(app):
        if isinstance(route, Mount):
            routes.add(f"GET {route.path}/{{path}}")
        else:
            assert isinstance(route, Route), route
            methods = (route.methods or set()) - {"HEAD"}
            routes |= {f"{method} {route.path}" for method in methods}
    table = {row.route for row in ROWS if ":/" not in row.route}
    assert routes - table == set(), "routes without a line in authorization.txt"
    assert table - routes == NOT_ROUTES, "lines of authorization.txt without a route"
