"""Uploads over HTTP: stored while they arrive, bounded, private, and sent by their id."""

import asyncio
import hashlib
import os
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from deploy.servers.databases import Databases
from tests.deadlines import eventually
from tests.integration.api.running import RunningApi, settings_for
from tests.integration.api.scripted_host import ScriptedHost
from tests.integration.api.sending import SEND, assert_problem
from wa_api.database.pool import Database
from wa_api.settings import Settings
from wa_api.uploads.uploads import UPLOADS_AT_ONCE, UPLOADS_OF_A_SESSION, Limits, Uploads
from wa_contracts.internal.commands import SendMessage
from wa_runtime.media_store.store import MediaStore
from wa_runtime.migrations import migrate

MEDIA = "/api/media"
FILE_BYTES, QUOTA = 400_000, 1_000_000
INLINE_BYTES = 300_000


@pytest.fixture(scope="module")
async def settings(
    database: Databases, broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Small limits."""
    await migrate(database.api, "wa_api")
    return settings_for(
        database.api,
        broker,
        tmp_path_factory.mktemp("api"),
        media_max_bytes=FILE_BYTES,
        media_inline_max_bytes=INLINE_BYTES,
        session_media_quota_bytes=QUOTA,
    )


@pytest.fixture
def folder(settings: Settings) -> Path:
    """Where the files are."""
    return settings.data_dir / "uploads"


def files(folder: Path) -> list[Path]:
    """All files of the store."""
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


@pytest.fixture
async def fresh(api: RunningApi, host: ScriptedHost) -> httpx.AsyncClient:
    """A client of a new session, without uploads."""
    return api.client((await api.new_session(host))["token"])


async def upload(client: httpx.AsyncClient, data: bytes, **options: Any) -> dict[str, Any]:
    """What the api says about an upload."""
    answer = await client.post(MEDIA, content=data, **options)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_raw_upload_comes_back_and_is_deleted(fresh: httpx.AsyncClient) -> None:
    data = os.urandom(FILE_BYTES)
    made = await upload(fresh, data, headers={"Content-Type": "image/png"})
    assert made["mimeType"] == "image/png"
    assert (made["size"], made["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert set(made) == {"mediaId", "mimeType", "size", "sha256", "expiresAt"}
    path = f"{MEDIA}/{made['mediaId']}"
    got = await fresh.get(path)
    assert (got.content, got.headers["content-type"]) == (data, "image/png")
    assert (await fresh.get(path, headers={"Accept": "application/json"})).json() == made
    assert (await fresh.delete(path)).status_code == 204
    for answer in (await fresh.get(path), await fresh.delete(path)):
        assert_problem(answer, 404, "media_not_found")


async def test_a_form_with_a_file(fresh: httpx.AsyncClient, host: ScriptedHost) -> None:
    data = os.urandom(200_000) + b"\r\n--boundary-like"
    answer = await fresh.post(
        MEDIA, files={"file": ("Größe 1.pdf", data, "application/pdf")}, data={"note": "ignored"}
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["mimeType"], made["size"]) == ("application/pdf", len(data))
    assert (await fresh.get(f"{MEDIA}/{made['mediaId']}")).content == data
    host.answers[SendMessage] = host.sent
    body = {"to": "919876543210", "type": "document", "mediaId": made["mediaId"]}
    assert (await fresh.post(SEND, json=body)).status_code == 200
    (command,) = host.commands(SendMessage)
    assert command.media is not None
    assert command.media.file_name == "Größe 1.pdf"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nno file\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"nothing of a form"),
        ("multipart/form-data", b"--x"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nhalf',
        ),
        ("image/png", b""),
        ("multipart/form-data; boundary=x", b"--x\r\nA: " + b"y" * 20_000),
    ],
)
async def test_a_body_without_a_whole_file_is_refused(
    fresh: httpx.AsyncClient, folder: Path, content_type: str, body: bytes
) -> None:
    before = files(folder)
    answer = await fresh.post(MEDIA, content=body, headers={"Content-Type": content_type})
    assert_problem(answer, 400, "invalid_request")
    assert files(folder) == before


async def streamed(data: bytes) -> AsyncIterator[bytes]:
    """Without a Content-Length."""
    for at in range(0, len(data), 50_000):
        yield data[at : at + 50_000]


async def test_beyond_the_limits_nothing_is_left(fresh: httpx.AsyncClient, folder: Path) -> None:
    before = files(folder)
    large = bytes(FILE_BYTES + 1)
    assert_problem(await fresh.post(MEDIA, content=large), 413, "media_too_large")
    assert_problem(await fresh.post(MEDIA, content=streamed(large)), 413, "media_too_large")
    assert files(folder) == before
    for _ in range(2):
        await upload(fresh, bytes(FILE_BYTES))
    for content in (bytes(300_000), streamed(bytes(300_000))):
        answer = await fresh.post(MEDIA, content=content)
        assert_problem(answer, 429, "media_quota_exceeded")
        assert int(answer.headers["retry-after"]) > 0
    assert len(files(folder)) == len(before) + 2
    await upload(fresh, bytes(QUOTA - 2 * FILE_BYTES))


class SlowFile:
    """A file of which a part came, and the rest comes when it is told."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()

    async def content(self) -> AsyncIterator[bytes]:
        """The pieces."""
        yield b"begins "
        await self.goes_on.wait()
        yield b"and ends"


async def unfinished(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """How many uploads are under way."""
    found: int = await connection.fetchval("SELECT count(*) FROM media WHERE sha256 IS NULL")
    return found


async def all_begun(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    return await unfinished(connection) == UPLOADS_AT_ONCE


async def test_uploads_at_once_are_bounded(
    api: RunningApi, host: ScriptedHost, settings: Settings
) -> None:
    connection = await asyncpg.connect(settings.api_database_url.get_secret_value())
    sessions = [api.client((await api.new_session(host))["token"]) for _ in range(3)]
    slow = SlowFile()
    async with asyncio.TaskGroup() as group:
        begun = [
            group.create_task(client.post(MEDIA, content=slow.content()))
            for client in sessions[: UPLOADS_AT_ONCE // UPLOADS_OF_A_SESSION]
            for _ in range(UPLOADS_OF_A_SESSION)
        ]

        await eventually(partial(all_begun, connection), what="all places are taken")
        busy = await sessions[2].post(MEDIA, content=b"one more")
        assert_problem(busy, 503, "uploads_busy")
        own = await sessions[0].post(MEDIA, content=b"one more")
        assert_problem(own, 429, "too_many_uploads")
        assert int(busy.headers["retry-after"]) > 0 < int(own.headers["retry-after"])
        slow.goes_on.set()
    await connection.close()
    assert [task.result().status_code for task in begun] == [201] * UPLOADS_AT_ONCE
    await upload(sessions[2], b"one more")


async def test_an_upload_whose_client_goes_away_leaves_nothing(
    fresh: httpx.AsyncClient, folder: Path, settings: Settings
) -> None:
    before = files(folder)
    slow = SlowFile()
    task = asyncio.create_task(fresh.post(MEDIA, content=slow.content()))
    connection = await asyncpg.connect(settings.api_database_url.get_secret_value())

    await eventually(lambda: unfinished(connection), what="the upload has begun")
    task.cancel()

    async def none_left() -> bool:
        return not await unfinished(connection)

    await eventually(none_left, what="the upload is taken back")
    await connection.close()
    assert files(folder) == before


async def test_an_upload_belongs_to_its_session(
    api: RunningApi, client: httpx.AsyncClient, fresh: httpx.AsyncClient, host: ScriptedHost
) -> None:
    made = await upload(fresh, b"private")
    path = f"{MEDIA}/{made['mediaId']}"
    for answer in (await client.get(path), await client.delete(path)):
        assert_problem(answer, 404, "media_not_found")
    body = {"to": "919876543210", "type": "image", "mediaId": made["mediaId"]}
    assert_problem(await client.post(SEND, json=body), 404, "media_not_found")
    assert not host.commands(SendMessage)
    assert (await api.admin.get(path)).content == b"private"
    assert_problem(await api.anonymous.get(path), 401, "unauthorized")
    assert_problem(await api.anonymous.post(MEDIA, content=b"x"), 401, "unauthorized")
    assert_problem(await client.get(f"{MEDIA}/nope"), 404, "media_not_found")


async def test_a_send_names_its_upload(fresh: httpx.AsyncClient, host: ScriptedHost) -> None:
    made = await upload(fresh, b"GIF89a", params={"fileName": "a.gif"})
    assert made["mimeType"] == "image/gif"
    host.answers[SendMessage] = host.sent
    body = {"to": "919876543210", "type": "image", "mediaId": made["mediaId"]}
    keyed = {"Idempotency-Key": "one"}
    assert (await fresh.post(SEND, json=body, headers=keyed)).status_code == 200
    (command,) = host.commands(SendMessage)
    assert command.media_url is None
    assert command.media is not None
    assert command.media.key.endswith(made["mediaId"])
    assert (command.media.mime_type, command.media.file_name) == ("image/gif", "a.gif")
    both = {**body, "mediaUrl": "https://example.com/a.gif"}
    problem = assert_problem(await fresh.post(SEND, json=both), 400, "invalid_request")
    assert "exclude each other" in problem["error"]
    for unknown in ("nope", "019a0c8e-5d2b-7c41-9f0a-6f1d2b3c4d5e"):
        answer = await fresh.post(SEND, json={**body, "mediaId": unknown})
        assert_problem(answer, 404, "media_not_found")


async def test_a_repeat_is_answered_after_its_upload_is_deleted(
    fresh: httpx.AsyncClient, host: ScriptedHost
) -> None:
    made = await upload(fresh, b"GIF89a")
    host.answers[SendMessage] = host.sent
    body = {"to": "919876543210", "type": "image", "mediaId": made["mediaId"]}
    keyed = {"Idempotency-Key": "two"}
    first = await fresh.post(SEND, json=body, headers=keyed)
    assert first.status_code == 200

    async def shown() -> bool:
        return (await fresh.get(f"/api/messages/{first.json()['id']}")).status_code == 200

    await eventually(shown, what="the message is shown")
    await fresh.delete(f"{MEDIA}/{made['mediaId']}")
    assert (await fresh.post(SEND, json=body, headers=keyed)).status_code == 200
    assert_problem(await fresh.post(SEND, json=body), 404, "media_not_found")


async def test_a_data_url_is_one_upload_however_often_it_is_sent(
    fresh: httpx.AsyncClient, host: ScriptedHost, folder: Path
) -> None:
    before = files(folder)
    data = os.urandom(INLINE_BYTES)
    host.answers[SendMessage] = host.sent
    url = f"data:image/png;base64,{b64encode(data).decode()}"
    body = {"to": "919876543210", "type": "image", "mediaUrl": url}
    for _ in range(2):
        answer = await fresh.post(SEND, json=body)
        assert answer.status_code == 200, answer.text
    first, second = host.commands(SendMessage)
    assert first.media is not None
    assert (first.media, first.media_url) == (second.media, None)
    assert first.media.mime_type == "image/png"
    (stored,) = set(files(folder)) - set(before)
    assert stored.read_bytes() == data


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("data:image/png,plain", "must be data:"),
        ("data:image/png;base64", "must be data:"),
        ("DATA:image/png;base64,a*b=", "not base64"),
        ("data:image/png;base64,Zm9", "not base64"),
        ("data:;base64,", "has no content"),
    ],
)
async def test_a_malformed_data_url_is_refused(
    fresh: httpx.AsyncClient, host: ScriptedHost, url: str, says: str
) -> None:
    body = {"to": "919876543210", "type": "image", "mediaUrl": url}
    answer = assert_problem(await fresh.post(SEND, json=body), 400, "invalid_request")
    assert says in answer["error"]
    assert not host.commands(SendMessage)


async def test_larger_bodies_and_data_are_413(fresh: httpx.AsyncClient, folder: Path) -> None:
    before = files(folder)
    data = b64encode(bytes(INLINE_BYTES + 1)).decode()
    body = {"to": "919876543210", "type": "image", "mediaUrl": f"data:image/png;base64,{data}"}
    assert_problem(await fresh.post(SEND, json=body), 413, "media_too_large")
    text = {"to": "919876543210", "type": "text", "message": "x", "unknown": "y" * 300_000}
    assert_problem(await fresh.post(SEND, json=text), 413, "body_too_large")
    huge = {**text, "mediaUrl": "data:" + "y" * 1_000_000}
    assert_problem(await fresh.post(SEND, json=huge), 413, "body_too_large")
    long = {"to": "919876543210", "type": "image", "mediaUrl": "https://example.com/" + "y" * 8192}
    assert_problem(await fresh.post(SEND, json=long), 400, "invalid_request")
    assert files(folder) == before


async def test_expired_uploads_and_those_of_deleted_sessions_are_deleted(
    api: RunningApi, host: ScriptedHost, settings: Settings, folder: Path
) -> None:
    session, kept = await api.new_session(host), await api.new_session(host)
    client, other = api.client(session["token"]), api.client(kept["token"])
    expired = await upload(client, b"expired")
    await upload(other, b"kept")
    before = files(folder)
    limits = Limits(FILE_BYTES, QUOTA, timedelta(days=1))
    async with Database(settings.api_database_url.get_secret_value()) as database:
        uploads = Uploads(database, MediaStore(settings.upload_store), limits)
        await uploads.clean_up()
        assert files(folder) == before
        async with database.connection() as connection:
            await connection.execute(
                "UPDATE media SET expires_at = now() WHERE id = $1", expired["mediaId"]
            )
        assert_problem(await client.get(f"{MEDIA}/{expired['mediaId']}"), 404, "media_not_found")
        await uploads.clean_up()
        assert len(files(folder)) == len(before) - 1
        async with database.connection() as connection:
            await connection.execute(
                "UPDATE credentials SET revoked_at = now() - interval '2 hours' "
                "WHERE session_id = $1",
                kept["sessionId"],
            )
        await uploads.clean_up()
        assert len(files(folder)) == len(before) - 2


async def test_a_store_that_is_away_is_503_and_texts_go_on(
    fresh: httpx.AsyncClient, host: ScriptedHost, folder: Path
) -> None:
    made = await upload(fresh, b"GIF89a")
    host.answers[SendMessage] = host.sent
    away = folder.rename(folder.with_name("away"))
    folder.write_text("in the way")
    try:
        answer = await fresh.post(MEDIA, content=b"x")
        assert_problem(answer, 503, "media_store_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        data = {"to": "919876543210", "type": "image", "mediaUrl": "data:image/png;base64,AAAA"}
        assert_problem(await fresh.post(SEND, json=data), 503, "media_store_unavailable")
        text = {"to": "919876543210", "type": "text", "message": "still here"}
        assert (await fresh.post(SEND, json=text)).status_code == 200
    finally:
        folder.unlink()
        away.rename(folder)
    assert (await fresh.get(f"{MEDIA}/{made['mediaId']}")).content == b"GIF89a"
