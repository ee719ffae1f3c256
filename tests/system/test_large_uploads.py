"""A file of 100 MiB is uploaded, sent and read without being in memory; 50 at once stay bounded."""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from tests.system.conftest import NewRing
from tests.system.ring import Ring
from tests.system.test_real_engine import peak_memory

LARGE = 100 * 1024 * 1024
PIECE = os.urandom(1024 * 1024)
MOST_GROWTH = 20 * 1024 * 1024
AT_ONCE = 50


async def content(size: int) -> AsyncIterator[bytes]:
    """So many bytes."""
    for _ in range(size // len(PIECE)):
        yield PIECE


async def session_of(ring: Ring) -> str:
    """The token of a working session."""
    session = await ring.create_session()
    await ring.wait_for_status(session["sessionId"], "working")
    return str(session["token"])


def stored(ring: Ring) -> list[Path]:
    """The files of the media store."""
    return [path for path in Path(ring.directory).rglob("uploads/*/*") if path.is_file()]


async def test_a_large_file_passes_in_pieces(new_ring: NewRing) -> None:
    ring = await new_ring()
    token = await session_of(ring)
    client = ring.client(token)
    small = await client.post("/api/media", content=content(len(PIECE)))
    body: dict[str, Any] = {"to": "919876543210", "type": "document"}
    await ring.send(token, **body, mediaId=small.json()["mediaId"])  # the libraries are loaded
    pids = {name: ring.processes[name].pid for name in ("api-0", "host-0")}
    before = {name: peak_memory(pid) for name, pid in pids.items()}
    answer = await client.post("/api/media", content=content(LARGE), timeout=120)
    assert answer.status_code == 201, answer.text
    media_id = answer.json()["mediaId"]
    sent = await ring.send(token, **body, mediaId=media_id)
    assert sent.status_code == 200, sent.text
    digest, size = hashlib.sha256(), 0
    async with client.stream("GET", f"/api/media/{media_id}", timeout=120) as got:
        async for chunk in got.aiter_bytes():
            digest.update(chunk)
            size += len(chunk)
    assert (size, digest.hexdigest()) == (LARGE, answer.json()["sha256"])
    grown = {name: peak_memory(pid) - before[name] for name, pid in pids.items()}
    assert max(grown.values()) < MOST_GROWTH, grown
    await ring.stop()


async def test_many_large_uploads_at_once_are_refused_or_done(new_ring: NewRing) -> None:
    ring = await new_ring()
    clients = [ring.client(await session_of(ring)) for _ in range(5)]
    await clients[0].post("/api/media", content=content(len(PIECE)))
    api = ring.processes["api-0"].pid
    before, size = peak_memory(api), 20 * len(PIECE)

    async def upload(number: int) -> httpx.Response | None:
        """The answer; None where the api closed the connection after its refusal."""
        try:
            return await clients[number % len(clients)].post(
                "/api/media", content=content(size), timeout=120
            )
        except (httpx.WriteError, httpx.ReadError):
            return None

    answers = await asyncio.gather(*(upload(number) for number in range(AT_ONCE)))
    codes = Counter(answer.status_code for answer in answers if answer is not None)
    assert set(codes) <= {201, 429, 503}
    assert codes[201] >= 1
    assert codes[201] < AT_ONCE
    for answer in answers:
        if answer is not None and answer.status_code != 201:
            assert int(answer.headers["retry-after"]) > 0
    assert peak_memory(api) - before < 4 * MOST_GROWTH
    assert len(stored(ring)) == codes[201] + 1, "nothing is left of the others"
    await ring.stop()
