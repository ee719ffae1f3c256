"""The client version in the engine's library: read, replaced in a copy, looked up, followed."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from tests.deadlines import eventually
from wa_session_host.engine.neonize.client_version import (
    COPIES_KEPT,
    VersionNotReplaced,
    engine_version,
    patched_copy,
    shipped_library,
)
from wa_session_host.engine.process.client_versions import (
    ClientVersions,
    NoVersionFound,
    served_number,
)

NUMBER = 1_049_000_001
VERSION = struct.pack("<III", 2, 3000, 1_047_000_000)


def library(folder: Path, content: bytes) -> Path:
    """A library with this content."""
    path = folder / "neonize-linux-amd64.so"
    path.write_bytes(content)
    return path


def test_the_shipped_library_has_one_version() -> None:
    version = engine_version(shipped_library())
    assert re.fullmatch(r"neonize \d+\.\d+\.\d+", version.engine)
    assert re.fullmatch(r"2\.3000\.1\d{9}", version.client)


def test_a_copy_differs_in_its_version_alone_and_is_made_once(tmp_path: Path) -> None:
    original = library(tmp_path, b"begin" + VERSION + b"end")
    copy = patched_copy(original, NUMBER, tmp_path / "copies")
    assert copy.read_bytes() == b"begin" + struct.pack("<III", 2, 3000, NUMBER) + b"end"
    assert original.read_bytes() == b"begin" + VERSION + b"end"
    assert engine_version(copy).client == f"2.3000.{NUMBER}"
    inode = copy.stat().st_ino
    assert patched_copy(original, NUMBER, tmp_path / "copies").stat().st_ino == inode
    copy.write_bytes(b"cut off")
    assert patched_copy(original, NUMBER, tmp_path / "copies") == copy
    assert engine_version(copy).client == f"2.3000.{NUMBER}"
    assert patched_copy(original, 1_047_000_000, tmp_path / "copies") == original
    assert list((tmp_path / "copies").iterdir()) == [copy]


@pytest.mark.parametrize(
    ("content", "places"),
    [
        (b"no version", 0),
        (VERSION + b"between" + VERSION, 2),
        (struct.pack("<III", 2, 3000, 999), 0),
    ],
)
def test_a_library_without_exactly_one_version_is_refused(
    tmp_path: Path, content: bytes, places: int
) -> None:
    with pytest.raises(VersionNotReplaced, match=f"at {places} places, not at one"):
        patched_copy(library(tmp_path, content), NUMBER, tmp_path)


def test_a_folder_that_takes_no_copy_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VersionNotReplaced, match="can be loaded from"):
        patched_copy(library(tmp_path, VERSION), NUMBER, tmp_path / "file" / "copies")


def test_a_folder_keeps_few_copies(tmp_path: Path) -> None:
    original = library(tmp_path, VERSION)
    copies = [patched_copy(original, NUMBER + n, tmp_path / "copies") for n in range(9)]
    left = sorted((tmp_path / "copies").iterdir())
    assert len(left) == COPIES_KEPT
    assert copies[-1] in left


@dataclass
class WebPage:
    """What web.whatsapp.com answers."""

    address: str = ""
    text: str = ""
    status: int = 200
    asked: list[str] = field(default_factory=list)

    def serves(self, number: int) -> None:
        """This client version."""
        self.text, self.status = f'<script>{{"client_revision":{number},"x":1}}</script>', 200

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers["Sec-Fetch-Dest"])
        return web.Response(text=self.text, status=self.status)


@pytest.fixture
async def page() -> AsyncIterator[WebPage]:
    """One on loopback."""
    served = WebPage()
    app = web.Application()
    app.router.add_get("/", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.address = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield served
    await runner.cleanup()


async def test_the_served_version_is_found_in_the_page(page: WebPage) -> None:
    page.serves(NUMBER)
    assert await served_number(page.address) == NUMBER
    assert page.asked == ["document"]


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ('"client_revision":1049000001,', 404, "answers 404"),
        ("<html>no number</html>", 200, "names no client revision"),
        ('"client_revision":7,', 200, "names no client revision"),
    ],
)
async def test_a_look_up_that_finds_nothing_says_why(
    page: WebPage, text: str, status: int, says: str
) -> None:
    page.text, page.status = text, status
    with pytest.raises(NoVersionFound, match=says):
        await served_number(page.address)


async def test_nobody_at_the_address_says_so() -> None:
    with pytest.raises(NoVersionFound, match="ClientConnectorError"):
        await served_number("http://127.0.0.1:9/")


async def test_auto_keeps_the_last_version_that_was_served(page: WebPage, tmp_path: Path) -> None:
    page.status = 503
    assert await ClientVersions("auto", tmp_path, page.address).library() is None
    page.serves(NUMBER)
    found = await ClientVersions("auto", tmp_path, page.address).library()
    assert found is not None
    assert engine_version(found).client == f"2.3000.{NUMBER}"
    page.status = 503
    assert await ClientVersions("auto", tmp_path, page.address).library() == found


@pytest.mark.parametrize(("wanted", "expected"), [("", None), ("2.3000.1049000001", NUMBER)])
async def test_a_version_that_is_set_asks_nobody(
    page: WebPage, tmp_path: Path, wanted: str, expected: int | None
) -> None:
    found = await ClientVersions(wanted, tmp_path, page.address).library()
    assert (found and engine_version(found).client) == (expected and f"2.3000.{expected}")
    assert page.asked == []


@pytest.mark.parametrize(("is_refused", "every"), [(True, 3600.0), (False, 0.05)])
async def test_auto_follows_what_is_served_daily_and_sooner_while_it_is_refused(
    page: WebPage, tmp_path: Path, is_refused: bool, every: float
) -> None:
    page.serves(NUMBER)
    versions = ClientVersions("auto", tmp_path, page.address)
    await versions.library()
    used: list[str] = []

    async def use(found: Path | None) -> None:
        assert found is not None
        used.append(engine_version(found).client)

    following = asyncio.create_task(
        versions.follow(use, lambda: is_refused, every=every, again=0.02)
    )
    page.serves(NUMBER + 1)
    await eventually(lambda: f"2.3000.{NUMBER + 1}" in used, what="the newer version")
    following.cancel()


async def test_a_version_that_is_not_due_is_not_looked_up(page: WebPage, tmp_path: Path) -> None:
    page.serves(NUMBER)
    versions = ClientVersions("auto", tmp_path, page.address)
    await versions.library()
    turns: list[bool] = []

    def is_refused() -> bool:
        turns.append(False)
        return False

    async def use(_: Path | None) -> None:
        raise AssertionError("looked up")

    following = asyncio.create_task(versions.follow(use, is_refused, again=0.001))
    await eventually(lambda: len(turns) > 5 or following.done(), what="some turns")
    assert not following.done()
    assert len(page.asked) == 1
    following.cancel()
