"""A person at the dashboard: a browser page, and what must never be heard from it."""

import io
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import zxingcpp
from PIL import Image
from playwright.async_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Request,
    ViewportSize,
    expect,
)

from tests.deadlines import PATIENCE_SECONDS

WIDE: ViewportSize = {"width": 1360, "height": 850}


class Operator:
    """One browser page. `complaints` are console errors and requests to other hosts."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self._notes: deque[str] = deque(maxlen=60)
        page.on("console", lambda said: self._hear(said.type, said.text))
        page.on("pageerror", lambda error: self._complain(f"page error: {error}"))
        page.on("request", self._notice)
        page.on("response", lambda answer: self._note(f"{answer.status} {answer.url}"))
        page.on("requestfailed", lambda asked: self._note(f"failed {asked.url} {asked.failure}"))

    @classmethod
    @asynccontextmanager
    async def at(cls, browser: Browser, url: str, **options: Any) -> AsyncIterator["Operator"]:
        """A fresh browser profile. Nothing of it may complain by the end of the block."""
        context = await browser.new_context(base_url=url, **{"viewport": WIDE, **options})
        await _allow_clipboard(context, url)
        operator = cls(await context.new_page(), url)
        try:
            yield operator
            assert operator.complaints == []
        finally:
            await context.close()
            operator.tell()

    def tell(self) -> None:
        """Print what was asked and answered lately: pytest shows it beneath a test that failed."""
        print("\n".join(self._notes))

    def expect_complaints(self, pattern: str) -> None:
        """From now on such complaints belong to the test."""
        self._expected.append(re.compile(pattern))

    async def sign_in(self, admin_key: str) -> None:
        """Follow the log-in link to the page with the sessions."""
        await self.page.goto(f"/login?key={admin_key}")
        await expect(self.page.get_by_role("heading", name="Active Sessions")).to_be_visible()

    @property
    def dialog(self) -> Locator:
        """The dialog "Connect New Session"."""
        return self.page.locator("#connect-dialog")

    @property
    def table(self) -> Locator:
        """Active Sessions."""
        return self.page.get_by_role("table", name="Active Sessions")

    @property
    def toasts(self) -> Locator:
        """The notes at the edge of the page."""
        return self.page.locator("#toasts")

    def row(self, text: str) -> Locator:
        """The row of the session that is called so, or has that id or number."""
        return self.table.locator("tbody").get_by_role("row").filter(has_text=text)

    def status_of(self, text: str) -> Locator:
        """The word for that session's state."""
        return self.row(text).locator("[data-status]")

    async def shows(self, text: str, status: str, within: float = PATIENCE_SECONDS) -> None:
        """Wait until the session's row says so."""
        await expect(self.status_of(text)).to_have_text(status, timeout=within * 1000)

    async def act(self, text: str, action: str) -> None:
        """Choose an action of the session's menu."""
        await self.row(text).get_by_role("button", name="More actions").click()
        await self.page.get_by_role("menuitem", name=action).click()

    async def begin_to_connect(self, name: str) -> None:
        """Open the dialog, give a name, ask for the QR code."""
        await self.page.get_by_role("button", name="Connect New Session").click()
        await self.dialog.get_by_label("Name").fill(name)
        await self.dialog.get_by_role("button", name="Show QR code").click()

    async def read_qr(self) -> str:
        """What a camera reads from the very picture on the page."""
        return decoded(await self.page.locator(".qr-picture").screenshot())

    async def clipboard(self) -> str:
        """What was copied."""
        return str(await self.page.evaluate("() => navigator.clipboard.readText()"))

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self._complain(f"{kind}: {text}")

    def _note(self, text: str) -> None:
        at = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        self._notes.append(f"{at} {text.replace(self.url, '')}")

    def _notice(self, request: Request) -> None:
        self._note(f"{request.method} {request.url}")
        if not request.url.startswith((f"{self.url}/", "data:", "blob:")):
            self._complain(f"request to another host: {request.url}")

    def _complain(self, text: str) -> None:
        if not any(pattern.search(text) for pattern in self._expected):
            self.complaints.append(text)


def decoded(picture: bytes) -> str:
    """The text of the one QR code in a picture; AssertionError if there is none."""
    codes = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture)).convert("L"))
    assert len(codes) == 1
    text: str = codes[0].text
    return text


async def _allow_clipboard(context: BrowserContext, url: str) -> None:
    await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
