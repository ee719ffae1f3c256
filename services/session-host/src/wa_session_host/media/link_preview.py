"""The preview of a text's first link: title, description and picture of its page.

The page is fetched with the guards of media. Whatever fails, the text goes out without a preview.
"""

import asyncio
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import structlog

from wa_session_host.engine.port import LinkPreview
from wa_session_host.media.fetching import MediaFetcher
from wa_session_host.media.media_error import MediaError

log = structlog.get_logger()

PREVIEW_SECONDS = 5.0
HEAD_BYTES = 256 * 1024
"""So much of a page is read for its head."""
TITLE_LIMIT, DESCRIPTION_LIMIT = 300, 500
_LINK = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?([A-Za-z0-9_-]{1,40})", re.IGNORECASE)


async def link_preview(fetcher: MediaFetcher, text: str) -> LinkPreview | None:
    """The preview of the text's first link; None without one within 5 s."""
    link = first_link(text)
    if link is None:
        return None
    try:
        async with asyncio.timeout(PREVIEW_SECONDS):
            return await _fetched(fetcher, link)
    except (MediaError, OSError) as error:
        log.info("no_link_preview", reason=type(error).__name__)
        return None


def first_link(text: str) -> str | None:
    """The first http(s) address of a text, without the punctuation behind it."""
    found = _LINK.search(text)
    return None if found is None else found[0].rstrip(".,;:!?'\")]}")


async def _fetched(fetcher: MediaFetcher, link: str) -> LinkPreview | None:
    async with fetcher.of_link(link) as path:
        head = await asyncio.to_thread(_head_of, path)
    title = head.get("og:title") or head.get("title")
    if not title:
        return None
    described = head.get("og:description") or head.get("description") or ""
    thumbnail = await _thumbnail(fetcher, link, head.get("og:image"))
    return LinkPreview(link, title[:TITLE_LIMIT], described[:DESCRIPTION_LIMIT], thumbnail)


async def _thumbnail(fetcher: MediaFetcher, link: str, address: str | None) -> str | None:
    """Of the page's picture; None if there is none that can be shown."""
    if not address:
        return None
    try:
        async with fetcher.of_link(urljoin(link, address)) as picture:
            return await fetcher.thumbnail(picture)
    except (MediaError, ValueError, TimeoutError) as error:
        log.info("no_link_picture", reason=type(error).__name__)
        return None


def _head_of(path: Path) -> Mapping[str, str]:
    """`title` and the named `meta` values of a page."""
    with path.open("rb") as file:
        data = file.read(HEAD_BYTES)
    head = _Head()
    head.feed(_decoded(data))
    return head.found


def _decoded(data: bytes) -> str:
    named = _CHARSET.search(data, 0, 2048)
    for charset in ("utf-8", named[1].decode() if named else "latin-1"):
        try:
            return data.decode(charset)
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("utf-8", "replace")


class _Head(HTMLParser):
    """Collects the first value of each name."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, str] = {}
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        if tag == "meta":
            values = dict(attrs)
            name = (values.get("property") or values.get("name") or "").lower()
            self._keep(name, values.get("content") or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_title = self._in_title and tag != "title"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._keep("title", data)

    def _keep(self, name: str, value: str) -> None:
        text = " ".join(value.replace("\x00", "").split())
        if name and text:
            self.found.setdefault(name, text)
