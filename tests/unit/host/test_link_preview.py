"""The preview of a link: which link, what a page says, and nothing where it says nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tests.unit.contracts.internal_examples import MESSAGE, NUMBER, OF_SESSION
from wa_contracts.internal.commands import MessageType, SendMessage
from wa_contracts.internal.content import Parts
from wa_session_host.media.link_preview import first_link, link_preview
from wa_session_host.media.media_error import MediaError


class Fetcher:
    """Pages by address; every other one is not reachable."""

    def __init__(self, folder: Path, pages: dict[str, bytes]) -> None:
        self._folder = folder
        self._pages = pages

    @asynccontextmanager
    async def of_link(self, url: str) -> AsyncIterator[Path]:
        """The page as a file."""
        if url not in self._pages:
            raise MediaError("media_unavailable", "The media's server is not reachable.")
        path = self._folder / str(len(list(self._folder.iterdir())))
        path.write_bytes(self._pages[url])
        yield path

    async def thumbnail(self, picture: Path) -> str | None:
        """Of any picture."""
        return picture.read_text()


async def preview_of(folder: Path, page: bytes, **others: bytes) -> Any:
    """The preview of a text with a link to this page."""
    pages = {"https://a.example/": page, **others}
    return await link_preview(cast("Any", Fetcher(folder, pages)), "at https://a.example/")


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("no link", None),
        ("see https://a.example/x?y=1, and https://b.example", "https://a.example/x?y=1"),
        ("(http://a.example/b).", "http://a.example/b"),
        ("ftp://a.example", None),
    ],
)
def test_the_first_link_without_punctuation(text: str, link: str | None) -> None:
    assert first_link(text) == link


async def test_open_graph_goes_before_the_plain_title(tmp_path: Path) -> None:
    page = b"<title>Plain</title><meta property='og:title' content='Better'>"
    assert (await preview_of(tmp_path, page)).title == "Better"


async def test_another_charset_is_read(tmp_path: Path) -> None:
    page = "<meta charset=windows-1252><title>Caf\xe9 \u20ac</title>".encode("windows-1252")
    assert (await preview_of(tmp_path, page)).title == "Caf\xe9 \u20ac"


@pytest.mark.parametrize("page", [b"", b"\x00\xff\xfe", b"<title></title>", b"<title", b"no html"])
async def test_a_page_that_says_nothing_has_no_preview(tmp_path: Path, page: bytes) -> None:
    assert await preview_of(tmp_path, page) is None


async def test_a_page_that_is_not_reached_has_no_preview(tmp_path: Path) -> None:
    assert await link_preview(cast("Any", Fetcher(tmp_path, {})), "https://a.example/") is None


@pytest.mark.parametrize("wanted", [True, False])
def test_a_text_with_a_preview_is_prepared_before_its_send_begins(wanted: bool) -> None:
    """A crash during the fetch leaves it queued, not unknown."""
    command = SendMessage(
        **OF_SESSION,
        message_id=MESSAGE,
        to=NUMBER,
        message_type=MessageType.TEXT,
        parts=Parts(link_preview=wanted),
        fingerprint="f",
    )
    assert command.is_prepared is wanted


async def test_a_picture_that_cannot_be_fetched_is_left_out(tmp_path: Path) -> None:
    page = b"<title>T</title><meta property='og:image' content='http://[broken'>"
    made = await preview_of(tmp_path, page)
    assert (made.title, made.thumbnail) == ("T", None)


async def test_a_page_has_the_thumbnail_of_its_picture(tmp_path: Path) -> None:
    page = b"<title>T</title><meta property='og:image' content='/p.jpg'>"
    made = await preview_of(tmp_path, page, **{"https://a.example/p.jpg": b"small"})
    assert made.thumbnail == "small"
