"""Options of a session: shown, told, kept over a fail-over, and in force."""

from typing import Any

import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.event_consumer import consuming
from tests.system.linking import link
from tests.system.ring import Ring
from tests.whatsapp import StandIn

OPTIONS = {
    "name": "Support",
    "metadata": {"customer": "4711", "東京": "é"},
    "receive": {"groups": False, "stories": True},
    "proxy": "socks5://user:secret-password@proxy.example.com:1080",
    "deviceName": "Shop",
    "presence": "available",
    "keepMedia": True,
    "pacing": {"perDay": 1},
}
RECEIVE = {"groups": False, "stories": True, "channels": False, "calls": True, "echoes": True}
SHOWN = {
    **OPTIONS,
    "receive": RECEIVE,
    "proxy": "socks5://proxy.example.com:1080",
}


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    return await new_ring(environment={"SIMULATED_LINKS_AFTER": "0.1", "LEASE_SECONDS": "3"})


def _options(session: dict[str, Any]) -> dict[str, Any]:
    shown = {name: session[name] for name in OPTIONS}
    shown["pacing"] = {"perDay": session["pacing"]["perDay"]}
    return shown


async def test_options_are_shown_told_and_kept(ring: Ring) -> None:
    session = await ring.create_session("Sales")
    path = f"/api/sessions/{session['sessionId']}"
    await ring.wait_for_status(session["sessionId"], "working")
    async with consuming(ring.broker) as consumer:
        changed = await ring.admin.patch(path, json=OPTIONS)
        assert changed.status_code == 200, changed.text
        assert _options(changed.json()) == SHOWN
        assert changed.json()["status"] == "working"
        [told] = await eventually(
            lambda: [
                e for e in consumer.of(session["sessionId"]) if e["type"] == "session.updated"
            ],
            what="session.updated",
        )
        assert told["data"]["metadata"] == OPTIONS["metadata"]
        assert "secret-password" not in str(told)
        repeated = await ring.admin.patch(path, json=OPTIONS)
        assert repeated.status_code == 200
        await ring.kill("host-0")
        await ring.restart("host-0")
        connected = await eventually(
            lambda: [
                e
                for e in consumer.of(session["sessionId"])
                if e["type"] == "session.connected"
                and e["sessionSequence"] > told["sessionSequence"]  # a new owner publishes again
            ],
            what="session.connected",
        )
        assert connected[-1]["data"]["metadata"] == OPTIONS["metadata"]
        updates = [e for e in consumer.of(session["sessionId"]) if e["type"] == "session.updated"]
        assert {e["id"] for e in updates} == {told["id"]}
    assert _options(await ring.session(session["sessionId"])) == SHOWN
    assert "secret-password" not in (await ring.admin.get("/api/sessions")).text
    cleared = await ring.admin.patch(
        path, json={"name": None, "proxy": None, "deviceName": None, "pacing": None}
    )
    assert cleared.status_code == 200
    session = cleared.json()
    assert [session[one] for one in ("name", "proxy", "deviceName")] == [None] * 3
    assert session["metadata"] == OPTIONS["metadata"]
    await eventually(
        lambda: _without_pacing(ring, session["sessionId"]), what="the pacing is taken away"
    )


async def _without_pacing(ring: Ring, session_id: str) -> bool:
    assert "pacing" not in await ring.session(session_id)
    return True


async def test_a_session_is_created_with_options(ring: Ring) -> None:
    created = await ring.admin.post("/api/sessions", json=OPTIONS)
    assert created.status_code == 201, created.text
    shown = await ring.session(created.json()["sessionId"])
    assert _options(shown) == SHOWN


async def test_pacing_holds_from_the_change_on(ring: Ring) -> None:
    session = await ring.create_session("paced")
    await ring.wait_for_status(session["sessionId"], "working")
    path = f"/api/sessions/{session['sessionId']}"
    assert (await ring.admin.patch(path, json={"pacing": {"perDay": 1}})).status_code == 200
    message: dict[str, Any] = {"to": "919876543210", "type": "text", "message": "x"}
    first = await ring.send(session["token"], **message)
    assert first.status_code == 200, first.text
    headers = {"Prefer": "respond-async"}
    second = await ring.send(session["token"], headers=headers, **message)
    assert second.status_code == 202
    await ring.wait_for_message(second.json()["id"], "queued")
    assert (await ring.admin.patch(path, json={"pacing": {"perDay": 5}})).status_code == 200
    await ring.wait_for_message(second.json()["id"], ("sent", "delivered"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 129),
        ("metadata", {"a": 1}),
        ("metadata", {"a": "x" * 2048}),
        ("metadata", None),
        ("receive", {"groups": "maybe"}),
        ("proxy", "ftp://proxy.example.com"),
        ("proxy", "socks5://"),
        ("proxy", "http://proxy example.com"),
        ("proxy", "http://proxy.example.com:99999"),
        ("deviceName", ""),
        ("presence", "busy"),
        ("pacing", {"perMinute": 0}),
        ("pacing", {"perDay": 0.5}),
    ],
    ids=str,
)
async def test_a_wrong_option_is_refused_by_name(ring: Ring, field: str, value: Any) -> None:
    session = await ring.create_session("refused")
    path = f"/api/sessions/{session['sessionId']}"
    refused = await ring.admin.patch(path, json={"name": "changed", field: value})
    assert refused.status_code == 400
    assert refused.json()["details"][0]["field"].startswith(field)
    assert (await ring.session(session["sessionId"]))["name"] == "refused"
    assert (await ring.admin.post("/api/sessions", json={field: value})).status_code == 400


async def test_whatsapp_sees_the_options(new_ring: NewRing) -> None:
    async with StandIn.start() as whatsapp, whatsapp.another_proxy() as proxy:
        ring = await new_ring(engine="neonize", host_environment=whatsapp.engine_environment())
        phone, friend = whatsapp.phone("919833333333"), whatsapp.contact("12345678900")
        session = await link(ring, phone)
        path = f"/api/sessions/{session['sessionId']}"
        own = {"proxy": proxy.url, "receive": {"groups": False}}
        assert (await ring.admin.patch(path, json=own)).status_code == 200
        assert proxy.requests == []
        await ring.admin.post(f"{path}/restart")
        await eventually(lambda: bool(proxy.requests), what="a connection through the proxy")
        await ring.wait_for_status(session["sessionId"], "working")
        async with consuming(ring.broker) as consumer:
            await friend.send_text(phone.number, "in a group", group="120363000000000009@g.us")
            await friend.send_text(phone.number, "direct")
            [got] = await eventually(
                lambda: [e for e in consumer.events if e["type"] == "message.received"],
                what="the direct message",
            )
        assert got["data"]["text"] == "direct"
        await ring.stop()
