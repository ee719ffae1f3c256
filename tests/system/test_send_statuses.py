"""`POST /api/messages/send` through the whole ring: every status with its body."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.media_server import MediaServer
from tests.system.pictures import png
from tests.system.ring import Ring

TO = "919876543210"
TEXT: dict[str, Any] = {"to": TO, "type": "text", "message": "Hello World!"}
QUEUE_LIMIT = 5
MEDIA_MAX_BYTES = 20_000


@dataclass(frozen=True)
class SendingRing:
    """A ring of two apis with a working and a stopped session, and a server of media."""

    ring: Ring
    media: MediaServer
    token: str
    stopped: dict[str, Any]

    async def send(self, **body: Any) -> httpx.Response:
        """A message of the working session."""
        return await self.ring.send(self.token, **{"to": TO, **body})

    async def post(self, content: bytes, content_type: str = "application/json") -> httpx.Response:
        """That very body."""
        client = self.ring.client(self.token)
        return await client.post(
            "/api/messages/send", content=content, headers={"Content-Type": content_type}
        )


@pytest.fixture(scope="module")
async def sending_ring(new_ring: NewRing) -> AsyncIterator[SendingRing]:
    """The sending_ring of this module."""
    async with MediaServer.start() as media:
        ring = await new_ring(
            apis=2,
            environment={
                "SIMULATED_LINKS_AFTER": "0.1",
                "LEASE_SECONDS": "3",
                "SEND_WAIT_SECONDS": "1.5",
                "MEDIA_MAX_BYTES": str(MEDIA_MAX_BYTES),
                "MEDIA_ALLOWED_HOSTS": "127.0.0.1",
                "SESSION_QUEUE_LIMIT": str(QUEUE_LIMIT),
            },
        )
        folder = ring.directory / "media"
        folder.mkdir()
        (folder / "photo.png").write_bytes(png())
        (folder / "large.png").write_bytes(png() + bytes(MEDIA_MAX_BYTES))
        (folder / "escape.png").symlink_to("/etc/passwd")
        (folder / "alias.png").symlink_to(folder / "photo.png")
        working, stopped = await ring.create_session(), await ring.create_session()
        for session in (working, stopped):
            await ring.wait_for_status(session["sessionId"], "working")
        await ring.admin.post(f"/api/sessions/{stopped['sessionId']}/stop")
        await ring.wait_for_status(stopped["sessionId"], "stopped")
        yield SendingRing(ring, media, working["token"], stopped)
        await ring.stop()


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is this error, in the shape of all errors."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert body["success"] is False
    assert body["error"].endswith(".")
    assert isinstance(body["details"], list)
    return body


async def test_200_and_the_message_afterwards(sending_ring: SendingRing) -> None:
    answer = await sending_ring.send(
        type="text", message="Hi", reference="order 7", unknown="ignored"
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body == {"success": True, "status": "sent"} | {k: body[k] for k in ("messageId", "id")}
    assert body["messageId"].startswith("3EB0")
    for key in (body["messageId"], body["id"]):
        shown = await sending_ring.ring.wait_for_message(key, ("sent", "delivered"))
        assert (shown["id"], shown["messageId"]) == (body["id"], body["messageId"])
        assert (shown["to"], shown["reference"], shown["error"]) == (TO, "order 7", None)


async def test_media_by_url_and_by_path(sending_ring: SendingRing) -> None:
    good = sending_ring.media.put("photo.png", png())
    hop = sending_ring.media.redirect("hop", to=good)
    for address in (good, hop, "photo.png", "alias.png"):
        answer = await sending_ring.send(type="image", mediaUrl=address)
        assert answer.status_code == 200, (address, answer.text)
    answer = await sending_ring.send(
        to=f"{TO}@s.whatsapp.net", type="document", mediaUrl="photo.png"
    )
    assert answer.status_code == 200, answer.text


async def test_202_at_once_and_after_the_wait(sending_ring: SendingRing) -> None:
    for headers, token, becomes in (
        ({"Prefer": "respond-async"}, sending_ring.token, ("sent", "delivered")),
        ({}, sending_ring.stopped["token"], "queued"),
    ):
        answer = await sending_ring.ring.send(token, headers=headers, **TEXT)
        assert answer.status_code == 202
        body = answer.json()
        assert body == {"success": True, "messageId": None, "id": body["id"], "status": "queued"}
        assert answer.headers["location"] == f"/api/messages/{body['id']}"
        await sending_ring.ring.wait_for_message(body["id"], becomes)


IMAGE = {"to": TO, "type": "image"}
INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("plus", {**TEXT, "to": f"+{TO}"}, "to"),
    ("spaces", {**TEXT, "to": "91 9876 543210"}, "to"),
    ("no recipient", {"type": "text", "message": "x"}, "to"),
    ("unknown type", {**TEXT, "type": "unheard_of"}, "type"),
    ("NUL", {**TEXT, "message": "a\0b"}, "message"),
    ("no text", {"to": TO, "type": "text"}, "message"),
    ("too long", {**TEXT, "message": "x" * 65_537}, "message"),
    ("no media", IMAGE, "mediaUrl"),
    ("ftp", {**IMAGE, "mediaUrl": "ftp://example.com/a.png"}, "mediaUrl"),
    ("file", {**IMAGE, "mediaUrl": "file:///etc/passwd"}, "mediaUrl"),
    ("user", {**IMAGE, "mediaUrl": "http://me:secret@example.com/a.png"}, "mediaUrl"),
    ("private", {**IMAGE, "mediaUrl": "http://10.0.0.1/a.png"}, "mediaUrl"),
    ("metadata", {**IMAGE, "mediaUrl": "http://169.254.169.254/latest"}, "mediaUrl"),
    ("localhost", {**IMAGE, "mediaUrl": "http://localhost:8080/a.png"}, "mediaUrl"),
    ("v6 loopback", {**IMAGE, "mediaUrl": "http://[::1]/a.png"}, "mediaUrl"),
    ("hexadecimal", {**IMAGE, "mediaUrl": "http://0x7f000002/a.png"}, "mediaUrl"),
    ("outside", {**IMAGE, "mediaUrl": "/etc/passwd"}, "mediaUrl"),
    ("dots", {**IMAGE, "mediaUrl": "../../etc/passwd"}, "mediaUrl"),
    ("symlink", {**IMAGE, "mediaUrl": "escape.png"}, "mediaUrl"),
]


@pytest.mark.parametrize(("body", "field"), [c[1:] for c in INVALID], ids=[c[0] for c in INVALID])
async def test_400(sending_ring: SendingRing, body: dict[str, Any], field: str) -> None:
    problem = assert_problem(
        await sending_ring.ring.send(sending_ring.token, **body), 400, "invalid_request"
    )
    assert [detail["field"] for detail in problem["details"]] == [field]
    assert "secret" not in problem["error"]


@pytest.mark.parametrize(
    "raw",
    [b"{", b"to=1", b"\xff", b'{"to":"919876543210","type":"text","message":"\\ud800"}', b"[]"],
)
async def test_400_for_what_is_no_json_object(sending_ring: SendingRing, raw: bytes) -> None:
    problem = assert_problem(await sending_ring.post(raw), 400, "invalid_request")
    assert problem["details"][0]["field"] == "body"


async def test_400_for_media_that_only_its_fetch_can_judge(sending_ring: SendingRing) -> None:
    away = sending_ring.media.redirect("away", to="http://127.0.0.2:1/a.png")
    text = sending_ring.media.put("text.png", b"this is no picture")
    empty = sending_ring.media.put("empty.png", b"")
    for address in (away, text, empty):
        answer = await sending_ring.send(type="image", mediaUrl=address)
        problem = assert_problem(answer, 400, "invalid_request")
        assert problem["details"][0]["field"] == "mediaUrl", address


async def test_401(sending_ring: SendingRing) -> None:
    ring = sending_ring.ring
    deleted, rotated = await ring.create_session(), await ring.create_session()
    assert (await ring.admin.delete(f"/api/sessions/{deleted['sessionId']}")).status_code == 202
    renewed = await ring.admin.post(f"/api/sessions/{rotated['sessionId']}/token")
    for token in (None, "wams_wrong", ring.admin_key, deleted["token"], rotated["token"]):
        answer = await ring.client(token).post("/api/messages/send", json=TEXT)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    await ring.wait_for_status(rotated["sessionId"], "working")
    assert (await ring.send(renewed.json()["token"], **TEXT)).status_code == 200


async def test_413(sending_ring: SendingRing) -> None:
    assert_problem(
        await sending_ring.send(type="text", message="x", more="x" * 262_144), 413, "body_too_large"
    )
    large = sending_ring.media.put("large.png", png() + bytes(MEDIA_MAX_BYTES))
    for address in (large, "large.png"):
        answer = await sending_ring.send(type="image", mediaUrl=address)
        assert_problem(answer, 413, "media_too_large")


async def test_415(sending_ring: SendingRing) -> None:
    answer = await sending_ring.post(b"to=919876543210", "application/x-www-form-urlencoded")
    assert_problem(answer, 415, "unsupported_media_type")


async def test_429_above_the_rate(sending_ring: SendingRing) -> None:
    number = await sending_ring.ring.add_api({"SESSION_RATE_PER_MINUTE": "2"})
    answers = [
        await sending_ring.ring.send(sending_ring.token, api=number, **TEXT) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert_problem(answers[-1], 429, "rate_limited")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


async def test_429_for_a_full_queue_and_no_202_for_a_message_that_is_not_kept(
    sending_ring: SendingRing,
) -> None:
    ring = sending_ring.ring
    session = await ring.create_session()
    await ring.wait_for_status(session["sessionId"], "working")
    await ring.admin.post(f"/api/sessions/{session['sessionId']}/stop")
    hasty = {"Prefer": "respond-async"}
    answers = await asyncio.gather(
        *(ring.send(session["token"], headers=hasty, **TEXT) for _ in range(3 * QUEUE_LIMIT))
    )
    assert {answer.status_code for answer in answers} <= {202, 429}
    taken = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    shown = [(await ring.admin.get(f"/api/messages/{one}")).json() for one in taken]
    assert [one["status"] for one in shown].count("queued") == QUEUE_LIMIT
    assert all(one["error"]["code"] == "queue_full" for one in shown if one["status"] != "queued")
    for headers in ({}, hasty, {"Idempotency-Key": "full"}):
        answer = await ring.send(session["token"], headers=headers, **TEXT)
        assert_problem(answer, 429, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
    await ring.admin.post(f"/api/sessions/{session['sessionId']}/restart")
    for one in shown:
        if one["status"] == "queued":
            await ring.wait_for_message(one["id"], ("sent", "delivered"))
    answer = await ring.send(session["token"], headers={"Idempotency-Key": "full"}, **TEXT)
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers


async def test_500(sending_ring: SendingRing) -> None:
    ring = sending_ring.ring
    for to, code in (("919876540000", "not_on_whatsapp"), ("919876540001", "send_failed")):
        assert_problem(await sending_ring.send(to=to, type="text", message="x"), 500, code)
    unknown = await sending_ring.send(to="919876540002", type="text", message="x")
    problem = assert_problem(unknown, 500, "outcome_unknown")
    assert (await ring.wait_for_message(problem["id"], "unknown"))["messageId"] is None
    for address in (
        f"{sending_ring.media.address}/missing.png",
        "missing.png",
        "http://127.0.0.1:1/a",
    ):
        answer = await sending_ring.send(type="image", mediaUrl=address)
        assert_problem(answer, 500, "media_unavailable")


async def test_the_same_key_is_one_message_over_processes_and_restarts(
    sending_ring: SendingRing,
) -> None:
    ring = sending_ring.ring
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = await asyncio.gather(
        *(
            ring.send(sending_ring.token, headers=key, api=number % 2, **TEXT)
            for number in range(20)
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    [body] = {answer.text for answer in answers}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    for name in ("api-0", "api-1", "host-0", "projector"):
        await ring.kill(name)
    for name in ("api-0", "api-1", "host-0", "projector"):
        await ring.restart(name)

    async def answered() -> httpx.Response | None:
        again = await ring.send(sending_ring.token, headers=key, api=1, **TEXT)
        assert again.json()["id"] in body
        return None if again.status_code == 202 else again

    again = await eventually(answered, what="the session's next owner answers")
    assert again is not None
    assert (again.status_code, again.text) == (200, body)
    assert again.headers["idempotent-replayed"] == "true"
    for headers in (key, {**key, "Prefer": "respond-async"}):
        other = await ring.send(sending_ring.token, headers=headers, **{**TEXT, "message": "other"})
        assert_problem(other, 422, "idempotency_conflict")


async def test_a_409_is_not_kept_under_the_key(sending_ring: SendingRing) -> None:
    ring = sending_ring.ring
    session = await ring.create_session()
    await ring.wait_for_status(session["sessionId"], "working")
    await ring.admin.post(f"/api/sessions/{session['sessionId']}/logout")
    await ring.wait_for_status(session["sessionId"], "logged_out")
    key = {"Idempotency-Key": "try-again"}
    for _ in range(2):
        refused = await ring.send(session["token"], headers=key, **TEXT)
        assert_problem(refused, 409, "session_logged_out")
    await ring.admin.post(f"/api/sessions/{session['sessionId']}/restart")
    await ring.wait_for_status(session["sessionId"], "working")
    answer = await ring.send(session["token"], headers=key, **TEXT)
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers
