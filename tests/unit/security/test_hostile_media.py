"""Media URLs and paths that lie: each refused for the right reason, the honest ones passed.

`code` is what the fetch ends with (None: it passes). `at_once` is whether the api refuses it before
anything is queued, without any look at the network; the fetch's own check never relies on that.
"""

import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.pictures import png
from tests.unit.security.crafted_server import CraftedServer, Names
from tests.unit.security.hostile_media import (
    ADDRESSES,
    ANSWERS,
    HONEST,
    MAX_BYTES,
    NUMBERS,
    PATHS,
    REDIRECTS,
    REFUSED,
    SLOW,
    URLS,
    Case,
)
from wa_api.messages.media_address import MediaAddressRule, MediaRefused
from wa_contracts.internal.commands import MessageType
from wa_runtime import public_address
from wa_runtime.media_store.store import MediaStore
from wa_session_host.domain.message import Content
from wa_session_host.engine.simulated.engine import Script, SimulatedEngines
from wa_session_host.media.conversion import Converter
from wa_session_host.media.fetching import FETCH_SECONDS, MediaFetcher
from wa_session_host.media.media_error import MediaError

HAS_IPV6 = Path("/proc/net/if_inet6").exists() and socket.has_ipv6


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A media directory with honest files and traps."""
    above = tmp_path_factory.mktemp("above")
    (above / "outside.png").write_bytes(png())
    root = above / "media"
    folder = root / "folder"
    folder.mkdir(parents=True)
    for path in (root / "photo.png", folder / "photo.png"):
        path.write_bytes(png())
    (root / "large.png").write_bytes(png() + bytes(MAX_BYTES))
    (root / "text.png").write_text("this is no picture")
    (root / "empty.png").touch()
    for name, to in (
        ("alias.png", "photo.png"),
        ("leads-out.png", "/etc/passwd"),
        ("leads-to-zero.png", "/dev/zero"),
        ("leads-on.png", "leads-out.png"),
        ("leads-to-pipe.png", "pipe.png"),
        ("itself.png", "itself.png"),
        ("folder-out", "/etc"),
    ):
        (root / name).symlink_to(to)
    os.mkfifo(root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(root)  # the address of such a socket may have 107 bytes only
        listening.bind("socket.png")
        os.chdir(here)
        yield root


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[CraftedServer]:
    """Reached under 127.0.0.1, which no case may, and 127.0.0.2, which is as good as public here."""
    six = ("::1",) if HAS_IPV6 else ()
    async with CraftedServer.start(("127.0.0.1", "127.0.0.2", *six)) as server:
        yield server


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(
        good_test=[["127.0.0.1"]],
        ported_test=[["127.0.0.1"]],
        public_test=[["127.0.0.2"]],
        mixed_test=[["127.0.0.1", "127.0.0.2"]],
        loopback_test=[["127.0.0.1"]],
        six_test=[["::1"]],
        mapped_test=[["::ffff:127.0.0.1"]],
        metadata_test=[["169.254.169.254"]],
        both_test=[["127.0.0.1", "::1", "10.0.0.1"]],
        rebinds_test=[["127.0.0.2"], ["127.0.0.1"]],
        localhost=[["127.0.0.1"]],
        any_localhost=[["127.0.0.1"]],
    )
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    is_public = public_address.is_public
    monkeypatch.setattr(
        public_address, "is_public", lambda one: one == "127.0.0.2" or is_public(one)
    )


@dataclass(frozen=True)
class MediaGuards:
    """What is asked, with the same settings in both services."""

    root: Path
    spool: Path
    server: CraftedServer

    @property
    def allowed(self) -> frozenset[str]:
        """`MEDIA_ALLOWED_HOSTS`."""
        return frozenset({"good.test", f"ported.test:{self.server.port}"})

    async def fetch(self, address: str, seconds: float) -> MediaError | None:
        """What the fetch ends with; it is given up after so many seconds."""
        engines = SimulatedEngines(Script())
        fetcher = MediaFetcher(
            media_root=self.root,
            spool=self.spool,
            max_bytes=MAX_BYTES,
            allowed_hosts=self.allowed,
            converter=Converter(engines.start_decoder, spool=self.spool, max_bytes=MAX_BYTES),
            store=MediaStore(self.spool.as_uri()),
            fetch_seconds=seconds,
        )
        content = Content(text=None, media_url=address, file_name=None)
        try:
            async with fetcher.ready(MessageType.IMAGE, content) as file:
                assert file is not None
                assert file.path.read_bytes() == png()
        except MediaError as error:
            return error
        return None

    def first_look(self, address: str) -> str | None:
        """What the api refuses it with."""
        try:
            MediaAddressRule(self.root, self.allowed).check(address)
        except MediaRefused as error:
            return str(error)
        return None


@pytest.fixture
def guards(root: Path, tmp_path: Path, server: CraftedServer) -> MediaGuards:
    """With nothing asked of the server yet."""
    server.asked.clear()
    server.sent = 0
    return MediaGuards(root, tmp_path / "spool", server)


async def check(guards: MediaGuards, case: Case, seconds: float = FETCH_SECONDS) -> None:
    """The case ends as it must, leaves nothing behind, and reached only what it may."""
    address = case.address.replace("{port}", str(guards.server.port))
    error = await guards.fetch(address, seconds)
    assert (error and error.code) == case.code, (error, guards.server.asked)
    assert case.says in str(error)
    first = guards.first_look(address)
    assert (first is not None) == case.at_once, first
    assert first is None or (first.startswith("'mediaUrl' ") and first.endswith("."))
    assert not guards.spool.exists() or list(guards.spool.iterdir()) == []
    assert guards.server.sent < 50 * MAX_BYTES


@pytest.mark.parametrize("case", [*ADDRESSES, *NUMBERS, *URLS, *PATHS], ids=str)
async def test_refused_without_a_connection(guards: MediaGuards, case: Case) -> None:
    await check(guards, case)
    if case.code in {REFUSED, None}:
        assert guards.server.asked == []


@pytest.mark.parametrize("case", REDIRECTS, ids=str)
async def test_no_redirect_leads_further_than_a_url_could(guards: MediaGuards, case: Case) -> None:
    await check(guards, case)
    assert [path for _, path in guards.server.asked if "picture" in path and "re" not in path] == []


@pytest.mark.parametrize("case", ANSWERS, ids=str)
async def test_no_answer_is_believed(guards: MediaGuards, case: Case) -> None:
    await check(guards, case)


@pytest.mark.parametrize("case", SLOW, ids=str)
async def test_nobody_is_waited_for_longer_than_the_limit(guards: MediaGuards, case: Case) -> None:
    await check(guards, case, seconds=0.3)


@pytest.mark.parametrize("case", HONEST, ids=str)
async def test_the_honest_ones_pass(guards: MediaGuards, case: Case) -> None:
    await check(guards, case)


def test_the_table_is_as_long_as_promised() -> None:
    hostile = [
        case
        for table in (ADDRESSES, NUMBERS, URLS, REDIRECTS, ANSWERS, SLOW, PATHS)
        for case in table
        if case.code is not None
    ]
    assert len({case.address for case in hostile}) >= 60
