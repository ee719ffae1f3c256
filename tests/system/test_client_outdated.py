"""WhatsApp refuses the engine's client version to all numbers: nothing is lost, nobody is needed."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.deadlines import eventually
from tests.system.cluster import fair_shares
from tests.system.linking import link
from tests.system.ring import Ring
from tests.system.rings import NewRing
from tests.whatsapp import Phone, StandIn
from wa_contracts.topology import PARTITIONS
from wa_session_host.engine.neonize.client_version import engine_version, shipped_library

SESSIONS = int(os.environ.get("OUTDATED_SESSIONS", "3"))
CONTACT = "12345678900"
SHIPPED = engine_version(shipped_library()).client
NEWER = int(SHIPPED.rsplit(".", 1)[1]) + 1


@pytest.fixture
async def whatsapp() -> AsyncIterator[StandIn]:
    """One that accepts the shipped version until the test says otherwise."""
    async with StandIn.start() as stand_in:
        yield stand_in


@pytest.fixture
async def web_address() -> AsyncIterator[str]:
    """A page that serves a newer version, as web.whatsapp.com does."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=f'{{"client_revision":{NEWER},"x":1}}')

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def all_are(ring: Ring, status: str, reason: str | None = None) -> bool:
    """Whether REST shows every session so."""
    answer = await ring.admin.get("/api/sessions", params={"limit": "200"})
    shown = [(one["status"], one["statusReason"]) for one in answer.json()["items"]]
    assert [one for one in shown if one != (status, reason)] == []
    return True


async def consumes_all(ring: Ring) -> bool:
    """Whether the first host has taken all partitions over."""
    port = ring.processes["host-0"].orders.env["HEALTH_PORT"]
    async with httpx.AsyncClient(trust_env=False) as client:
        ready = (await client.get(f"http://127.0.0.1:{port}/readyz")).json()
    assert ready["clientVersion"] == SHIPPED
    return bool(ready["announced"] == PARTITIONS)


async def refused_everywhere(ring: Ring, whatsapp: StandIn, phones: list[Phone]) -> None:
    """From now on the shipped version is outdated, and nobody stays connected."""
    whatsapp.refusals.oldest_client = NEWER
    await asyncio.gather(*(phone.drop() for phone in phones))
    await eventually(
        lambda: all_are(ring, "disconnected", "client_outdated"), what="all are outdated"
    )


async def test_linked_sessions_wait_and_come_back_with_a_host_of_another_version(
    new_ring: NewRing, whatsapp: StandIn, web_address: str
) -> None:
    ring = await new_ring(
        engine="neonize",
        environment={"LEASE_SECONDS": "3"},
        host_environment=whatsapp.engine_environment(),
    )
    contact = whatsapp.contact(CONTACT)
    phones = [whatsapp.phone(str(919_700_000_000 + n)) for n in range(SESSIONS)]
    sessions = [await link(ring, phone) for phone in phones]
    await refused_everywhere(ring, whatsapp, phones)

    async def send(number: int) -> dict[str, Any]:
        answer = await ring.send(
            sessions[number]["token"],
            headers={"Prefer": "respond-async"},
            to=CONTACT,
            type="text",
            message=str(number),
        )
        assert answer.status_code == 202, answer.text
        body: dict[str, Any] = answer.json()
        return body

    queued = [await send(number) for number in range(SESSIONS)]
    tries = len(whatsapp.client_versions)
    await ring.end("host-0")
    await ring.restart("host-0")
    await fair_shares(ring, 1)
    await eventually(lambda: consumes_all(ring), what="host-0 consumes every partition")
    assert await all_are(ring, "disconnected", "client_outdated")
    assert len(whatsapp.client_versions) == tries, "the refused version was tried again at once"

    began = time.monotonic()
    await ring.add_host({"WHATSAPP_CLIENT_VERSION": "auto", "WHATSAPP_WEB_URL": web_address})
    await fair_shares(ring, 2)
    assert await ring.end("host-0")
    await eventually(lambda: all_are(ring, "working"), what="all work", within=120)
    for one in queued:
        await ring.wait_for_message(one["id"], ("sent", "delivered"), timeout=60)
    print(f"{SESSIONS} sessions recovered within {time.monotonic() - began:.1f} s")
    received = [(await contact.receive()).text for _ in range(SESSIONS)]
    assert sorted(received) == sorted(str(number) for number in range(SESSIONS))
    assert whatsapp.client_versions.count(f"2.3000.{NEWER}") >= SESSIONS

    async def named() -> bool:
        engines = (await ring.admin.get("/readyz")).json()["engines"]
        assert [one["clientVersion"] for one in engines] == [f"2.3000.{NEWER}"]
        return True

    await eventually(named, what="/readyz names the version in use")
    await ring.stop()
