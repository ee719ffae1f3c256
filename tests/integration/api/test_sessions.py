"""Managing sessions, their tokens, QR codes and pairing codes; who may do what."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import zxingcpp
from PIL import Image

from tests.deadlines import eventually
from tests.integration.api.running import RunningApi, running_api
from tests.integration.api.scripted_host import NUMBER, ScriptedHost
from tests.integration.api.sending import SEND, TEXT, assert_problem
from wa_api.settings import Settings
from wa_contracts.internal.commands import (
    Command,
    CreateSession,
    DeleteSession,
    RequestPairingCode,
)
from wa_contracts.internal.replies import PairingCode
from wa_contracts.session_events import (
    QRExpired,
    QRIssued,
    SessionConnecting,
    SessionDisconnected,
    SessionFailed,
    SessionStopped,
)

QR = "2@AbCdEf/0123456789+==,key,identity,secret"
SHAPE = {
    *("sessionId", "name", "phoneNumber", "status", "statusReason", "desiredState"),
    *("connectedAt", "createdAt", "lastError", "restrictedUntil"),
    *("metadata", "receive", "proxy", "deviceName", "presence", "keepMedia"),
}


async def test_created_linked_stopped_restarted_logged_out_deleted(
    api: RunningApi, host: ScriptedHost
) -> None:
    created = await api.admin.post("/api/sessions", json={"name": "shop"})
    assert created.status_code == 201
    session = created.json()
    assert set(session) == SHAPE | {"token"}
    assert len(session["token"]) == len("wams_") + 43
    address = f"/api/sessions/{session['sessionId']}"
    assert created.headers["location"] == address
    assert [command.name for command in host.commands(CreateSession)] == ["shop"]
    shown = (await api.admin.get(address)).json()
    assert set(shown) == SHAPE
    assert shown["status"] == "starting"
    assert shown["desiredState"] == "running"
    await host.link(UUID(session["sessionId"]))
    working = await api.reaches(session["sessionId"], "working")
    assert working["phoneNumber"] == NUMBER
    assert datetime.fromisoformat(working["connectedAt"])
    for call, status, wanted in (
        ("stop", "stopped", "stopped"),
        ("restart", "starting", "running"),
        ("logout", "logged_out", "stopped"),
    ):
        answer = await api.admin.post(f"{address}/{call}")
        assert answer.status_code == 202
        assert answer.json()["status"] == status
        assert answer.json()["desiredState"] == wanted
        assert answer.json()["connectedAt"] is None
    deleted = await api.admin.delete(address)
    assert deleted.status_code == 202

    async def gone() -> httpx.Response:
        answer = await api.admin.get(address)
        assert answer.status_code == 404
        return answer

    absent: httpx.Response = await eventually(gone, what="the session is gone")
    assert_problem(absent, 404, "session_not_found")
    assert_problem(await api.admin.get(address), 404, "session_not_found")
    assert_problem(await api.admin.delete(address), 404, "session_not_found")


async def test_body_of_create_may_be_absent(api: RunningApi, host: ScriptedHost) -> None:
    assert (await api.admin.post("/api/sessions")).json()["name"] is None
    assert (await api.admin.post("/api/sessions", json={})).status_code == 201
    for bad in ({"name": "x" * 129}, {"name": "\x00"}, {"name": 1}):
        assert_problem(await api.admin.post("/api/sessions", json=bad), 400, "invalid_request")


async def test_create_is_accepted_while_no_host_answers(
    api: RunningApi, host: ScriptedHost
) -> None:
    async def silent(_: Command) -> None:
        return None

    host.answers[CreateSession] = silent
    answer = await api.admin.post("/api/sessions")
    assert answer.status_code == 202
    assert answer.json()["statusReason"] == "awaiting_host"
    assert answer.json()["token"].startswith("wams_")


async def test_deleted_token_is_refused_at_once(api: RunningApi, host: ScriptedHost) -> None:
    session = await api.new_session(host)

    async def silent(_: Command) -> None:
        return None

    host.answers[DeleteSession] = silent
    await api.admin.delete(f"/api/sessions/{session['sessionId']}")
    answer = await api.client(session["token"]).post(SEND, json=TEXT)
    assert_problem(answer, 401, "unauthorized")


async def test_token_is_shown_and_rotated(api: RunningApi, host: ScriptedHost) -> None:
    session = await api.new_session(host)
    address = f"/api/sessions/{session['sessionId']}/token"
    shown = await api.admin.get(address)
    assert shown.json()["token"] == session["token"]
    assert shown.headers["cache-control"] == "no-store"
    rotated = (await api.admin.post(address)).json()["token"]
    assert rotated != session["token"]
    assert (await api.admin.get(address)).json()["token"] == rotated
    old, new = api.client(session["token"]), api.client(rotated)
    assert_problem(await old.get("/api/session"), 401, "unauthorized")
    assert (await new.get("/api/session")).json()["sessionId"] == session["sessionId"]
    assert_problem(await api.admin.get(f"/api/sessions/{uuid4()}/token"), 404, "session_not_found")


async def test_qr_in_three_forms(api: RunningApi, host: ScriptedHost) -> None:
    session = await api.new_session(host, linked=False)
    address = f"/api/sessions/{session['sessionId']}/qr"
    assert_problem(await api.admin.get(address), 404, "qr_not_ready")
    expires_at = datetime.now(UTC) + timedelta(seconds=20)
    await host.happen(UUID(session["sessionId"]), QRIssued(qr=QR, expires_at=expires_at))
    await api.reaches(session["sessionId"], "scan_qr")
    as_json = await api.admin.get(address, headers={"Accept": "application/json"})
    assert as_json.json()["qr"] == QR
    assert datetime.fromisoformat(as_json.json()["expiresAt"]) == expires_at
    as_png = await api.admin.get(address, headers={"Accept": "image/*;q=0.5, image/png"})
    assert as_png.headers["content-type"] == "image/png"
    assert as_png.headers["cache-control"] == "no-store"
    [found] = zxingcpp.read_barcodes(Image.open(io.BytesIO(as_png.content)))
    assert found.text == QR
    as_svg = await api.admin.get(address, headers={"Accept": "image/svg+xml"})
    assert as_svg.headers["content-type"] == "image/svg+xml"
    assert as_svg.content.startswith(b"<?xml")
    assert (await api.admin.get(address)).headers["content-type"] == "image/png"
    refused = await api.admin.get(address, headers={"Accept": "text/html"})
    assert_problem(refused, 406, "not_acceptable")


async def test_why_there_is_no_qr(api: RunningApi, host: ScriptedHost) -> None:
    session = await api.new_session(host, linked=False)
    session_id = UUID(session["sessionId"])
    address = f"/api/sessions/{session_id}/qr"
    past = datetime.now(UTC) - timedelta(seconds=1)
    await host.happen(session_id, QRIssued(qr=QR, expires_at=past))
    await api.reaches(str(session_id), "scan_qr")
    assert_problem(await api.admin.get(address), 404, "qr_not_ready")
    await host.happen(session_id, QRExpired())
    await host.happen(session_id, SessionFailed(reason="qr_expired", message="Not scanned."))
    failed = await api.reaches(str(session_id), "failed")
    assert (failed["statusReason"], failed["lastError"]) == ("qr_expired", "Not scanned.")
    assert_problem(await api.admin.get(address), 404, "qr_expired")
    await host.happen(session_id, SessionFailed(reason="passkey_required", message="A passkey."))
    await api.reaches(str(session_id), "failed", "passkey_required")
    problem = await api.admin.get(address)
    assert_problem(problem, 404, "passkey_required")
    assert problem.json()["error"] == "A passkey. Restart the session."
    await host.happen(session_id, SessionConnecting(phone_number=NUMBER))
    await api.reaches(str(session_id), "connecting")
    assert_problem(await api.admin.get(address), 404, "already_linked")
    await host.happen(session_id, SessionStopped())
    await api.reaches(str(session_id), "stopped")
    assert_problem(await api.admin.get(address), 404, "session_stopped")


async def test_pairing_code(api: RunningApi, host: ScriptedHost) -> None:
    session = await api.new_session(host, linked=False)
    address = f"/api/sessions/{session['sessionId']}/pairing-code"
    code = PairingCode(
        pairing_code="ABCD-1234", expires_at=datetime.now(UTC) + timedelta(minutes=3)
    )
    host.answers[RequestPairingCode] = lambda command: host.reply(command, pairing_code=code)
    answer = await api.admin.post(address, json={"phoneNumber": NUMBER})
    assert answer.status_code == 200
    assert answer.json()["pairingCode"] == "ABCD-1234"
    bad = await api.admin.post(address, json={"phoneNumber": "+44"})
    assert_problem(bad, 400, "invalid_request")
    host.answers[RequestPairingCode] = lambda command: host.refuse(command, "pairing_unavailable")
    refused = await api.admin.post(address, json={"phoneNumber": NUMBER})
    assert_problem(refused, 409, "pairing_unavailable")


async def test_list_in_pages(api: RunningApi, host: ScriptedHost) -> None:
    made = [(await api.new_session(host, linked=False))["sessionId"] for _ in range(3)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.admin.get("/api/sessions", params={"limit": "2", **cursor})).json()
        seen += [item["sessionId"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert seen[:3] == made[::-1]
    assert len(seen) == len(set(seen))
    for bad in ("x", "%%%", "e30", "MjAyNi0wMS0wMSBub3BlCg"):
        answer = await api.admin.get("/api/sessions", params={"cursor": bad})
        assert_problem(answer, 400, "invalid_request")
    for bad_parameter in ({"status": "nope"}, {"limit": "0"}, {"limit": "many"}):
        answer = await api.admin.get("/api/sessions", params=bad_parameter)
        assert_problem(answer, 400, "invalid_request")


async def test_silent_host(settings: Settings, host: ScriptedHost, api: RunningApi) -> None:
    session = await api.new_session(host)
    host.beating = False
    async with running_api(settings) as fresh:
        silent = await fresh.reaches(session["sessionId"], "disconnected")
        assert silent["statusReason"] == "host_silent"
        assert silent["connectedAt"] is None
        listed = (await fresh.admin.get("/api/sessions", params={"status": "working"})).json()
        assert listed["items"] == []
        await host.heartbeat()
        await fresh.reaches(session["sessionId"], "working")
        await host.heartbeat(leaving=True)
        silent = await fresh.reaches(session["sessionId"], "disconnected")
        assert silent["statusReason"] == "host_silent"
    silent = await api.reaches(session["sessionId"], "disconnected")
    assert silent["statusReason"] == "host_silent"


async def test_last_error_ends_with_the_reconnect(api: RunningApi, host: ScriptedHost) -> None:
    session = await api.new_session(host)
    lost = SessionDisconnected(reason="network", message="The line is gone.")
    await host.happen(UUID(session["sessionId"]), lost)
    shown = await api.reaches(session["sessionId"], "disconnected")
    assert (shown["statusReason"], shown["lastError"]) == ("network", "The line is gone.")
    await host.link(UUID(session["sessionId"]))
    shown = await api.reaches(session["sessionId"], "working")
    assert (shown["statusReason"], shown["lastError"]) == (None, None)


async def test_framework_errors_have_the_same_shape(api: RunningApi) -> None:
    assert_problem(await api.admin.get("/api/nothing"), 404, "not_found")
    answer = await api.admin.put("/api/sessions")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"
    assert_problem(await api.admin.get("/api/sessions/not-a-uuid"), 400, "invalid_request")
    assert (await api.anonymous.get("/redoc")).status_code == 404


async def test_health(api: RunningApi, host: ScriptedHost) -> None:
    assert (await api.anonymous.get("/livez")).json() == {"status": "alive"}

    async def settled() -> dict[str, Any]:
        body: dict[str, Any] = (await api.anonymous.get("/readyz")).json()
        assert (body["projectorBacklog"], body["liveHosts"]) == (0, 1)
        return body

    ready: dict[str, Any] = await eventually(settled, what="everything is there and projected")
    assert (ready["broker"], ready["database"]) == ("available", "available")
    engine = {"engine": "neonize 0.5.2", "clientVersion": "2.3000.1047769893", "hosts": 1}
    assert ready["engines"] == [engine]


async def test_events_are_followed_and_resumed(api: RunningApi, host: ScriptedHost) -> None:
    session = await api.new_session(host, linked=False)
    session_id = UUID(session["sessionId"])
    client = api.client(session["token"])
    async with client.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith("retry:")
        expires_at = datetime.now(UTC) + timedelta(seconds=20)
        await host.happen(session_id, QRIssued(qr=QR, expires_at=expires_at))
        await host.link(session_id)
        seen = [await _event(lines), await _event(lines)]
    assert [event["event"] for event in seen] == ["session.qr_issued", "session.connected"]
    assert QR not in seen[0]["data"]
    headers = {"Last-Event-ID": seen[0]["id"]}
    async with client.stream("GET", "/api/events", headers=headers) as stream:
        assert (await _event(stream.aiter_lines()))["id"] == seen[1]["id"]
    wanted = {"type": "session.connected", "sessionId": session["sessionId"]}
    headers = {"Last-Event-ID": "0"}
    async with api.admin.stream("GET", "/api/events", headers=headers, params=wanted) as stream:
        assert (await _event(stream.aiter_lines()))["id"] == seen[1]["id"]
    bad = await api.admin.get("/api/events", headers={"Last-Event-ID": "x"})
    assert_problem(bad, 400, "invalid_request")
    other = await client.get("/api/events", params={"sessionId": str(uuid4())})
    assert_problem(other, 400, "invalid_request")


async def _event(lines: Any) -> dict[str, str]:
    fields: dict[str, str] = {}
    async with asyncio.timeout(5):
        async for line in lines:
            name, _, value = line.partition(": ")
            if name in {"id", "event", "data"}:
                fields[name] = value
            if not line and "data" in fields:
                return fields
    raise AssertionError(f"the stream ended after {fields}")
