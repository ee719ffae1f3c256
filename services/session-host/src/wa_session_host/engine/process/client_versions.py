"""Which library the engines load: the shipped one, or a copy with another client version.

`auto` looks up what WhatsApp serves to browsers. Source: whatsmeow, update.go (address, pattern and
headers).
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import structlog

from wa_session_host.engine.neonize.client_version import (
    VersionNotReplaced,
    patched_copy,
    shipped_library,
)

log = structlog.get_logger()

AUTO = "auto"
LOOKUP_SECONDS = 5.0
"""A host starts no session before its first look-up has ended."""
LOOKUP_EVERY_SECONDS = 24 * 3600.0
LOOKUP_AGAIN_SECONDS = 600.0
"""After a failed look-up, and while WhatsApp refuses the version in use."""
LARGEST_PAGE_BYTES = 8 * 1024 * 1024

_REVISION = re.compile(rb'"client_revision":(\d+),')
_VERSION = re.compile(r"2\.3000\.(1[0-9]{9})")
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/148.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.9",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-User": "?1",
}


class NoVersionFound(Exception):
    """The look-up failed; the text says how."""


class ClientVersions:
    """The wanted client version as a library: empty, `2.3000.N` or `auto`."""

    def __init__(self, wanted: str, folder: Path, address: str) -> None:
        """Copies, and the last version that was looked up, are kept in `folder`."""
        self._wanted = wanted
        self._folder = folder
        self._kept = folder / "served-version"
        self._address = address
        self._looked_up_at: float | None = None

    async def library(self) -> Path | None:
        """The library for the wanted version; None for the shipped one.

        If the wanted version cannot be had, the shipped library is used and the log says why.
        """
        number = await self._look_up() if self._wanted == AUTO else number_of(self._wanted)
        if number is None:
            return None
        try:
            return await asyncio.to_thread(patched_copy, shipped_library(), number, self._folder)
        except VersionNotReplaced as error:
            log.error("client_version_not_replaced", wanted=number, reason=str(error))  # noqa: TRY400
            return None

    async def follow(
        self,
        use: Callable[[Path | None], Awaitable[None]],
        is_refused: Callable[[], bool],
        *,
        every: float = LOOKUP_EVERY_SECONDS,
        again: float = LOOKUP_AGAIN_SECONDS,
    ) -> None:
        """With `auto`, look the version up daily, or sooner while WhatsApp refuses the one in use."""
        while self._wanted == AUTO:
            await asyncio.sleep(again)
            last = self._looked_up_at
            if last is None or time.monotonic() - last >= every or is_refused():
                await use(await self.library())

    async def _look_up(self) -> int | None:
        """The version that WhatsApp serves, else the last one that it served, else None."""
        try:
            number = await served_number(self._address)
        except NoVersionFound as error:
            log.warning("client_version_not_found", reason=str(error))
            return await asyncio.to_thread(self._kept_number)
        self._looked_up_at = time.monotonic()
        await asyncio.to_thread(self._keep, number)
        log.info("client_version_found", version=f"2.3000.{number}")
        return number

    def _keep(self, number: int) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = self._kept.with_suffix(".new")
            draft.write_text(f"2.3000.{number}\n")
            draft.replace(self._kept)
        except OSError as error:
            log.warning("client_version_not_kept", reason=error.strerror)

    def _kept_number(self) -> int | None:
        try:
            return number_of(self._kept.read_text().strip())
        except OSError:
            return None


def number_of(version: str) -> int | None:
    """The third number of `2.3000.N`; None for anything else."""
    match = _VERSION.fullmatch(version)
    return int(match[1]) if match else None


async def served_number(address: str) -> int:
    """The third number of the version that WhatsApp serves to browsers, within LOOKUP_SECONDS.

    Raises:
        NoVersionFound: no answer, another status than 200, or no version in the page.
    """
    try:
        async with (
            asyncio.timeout(LOOKUP_SECONDS),
            aiohttp.ClientSession(headers=_HEADERS, trust_env=True) as client,
            client.get(address) as answer,
        ):
            if answer.status != 200:
                raise NoVersionFound(f"{address} answers {answer.status}")
            page = await answer.content.read(LARGEST_PAGE_BYTES)
            while not answer.content.at_eof() and len(page) < LARGEST_PAGE_BYTES:
                page += await answer.content.read(LARGEST_PAGE_BYTES - len(page))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoVersionFound(f"{address}: {type(error).__name__} {error}".strip()) from error
    match = _REVISION.search(page)
    number = number_of(f"2.3000.{match[1].decode()}") if match else None
    if number is None:
        raise NoVersionFound(f"{address} names no client revision")
    return number
