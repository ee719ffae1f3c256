"""The page below a path of nginx: everything that leads somewhere leads below the path."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, expect

from tests.browser.operator import Operator
from tests.nginx import running_nginx
from tests.system.ring import Ring
from tests.system.rings import NewRing

BASE = "/wa"


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """With the path, and sessions that show their QR codes until another host links them."""
    return await new_ring(environment={"SIMULATED_LINKS_AFTER": "3600", "BASE_PATH": BASE})


@pytest.fixture(scope="module")
async def proxy(ring: Ring, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where the gateway is for the world."""
    directory: Path = tmp_path_factory.mktemp("nginx")
    async with running_nginx(directory, urlsplit(ring.url()).port or 0) as address:
        yield f"{address}{BASE}"


async def test_the_whole_page_works_below_the_path(
    browser: Browser, ring: Ring, proxy: str
) -> None:
    origin = proxy.removesuffix(BASE)
    async with Operator.at(browser, proxy) as operator:  # which complains about other addresses
        page = operator.page
        operator.expect_complaints(f"{re.escape(proxy)}$")  # the path without its slash
        await page.goto(proxy)
        await expect(page).to_have_url(f"{proxy}/")
        await page.get_by_label("Admin key").fill(ring.admin_key)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_url(f"{proxy}/")
        await expect(page.locator("#code-curl")).to_contain_text(f"{proxy}/api/messages/send")
        cookies = await page.context.cookies(f"{proxy}/")
        assert [one["path"] for one in cookies] == [f"{BASE}/"]

        await operator.begin_to_connect("Sales")
        await expect(page.locator(".qr-picture")).to_be_visible()
        await ring.end("host-0")
        await ring.add_host({"SIMULATED_LINKS_AFTER": "0.1"})
        await operator.shows("Sales", "Working")
        await expect(operator.dialog).to_be_hidden()
        await operator.row("Sales").get_by_role("button", name="Reveal").click()
        await expect(operator.row("Sales").locator("[data-token]")).to_contain_text("wams_")
        await page.get_by_role("searchbox").fill("Sal")
        await expect(page).to_have_url(f"{proxy}/?search=Sal")

        await operator.row("Sales").get_by_role("link").click()
        await expect(page).to_have_url(re.compile(f"^{re.escape(proxy)}/sessions/"))
        await expect(page.locator("#live-state")).to_have_text("Listening")
        await page.get_by_role("button", name="Send a test message").click()
        test = page.get_by_role("dialog", name="Send a test message")
        await test.get_by_label("To", exact=True).fill("919876543210")
        await test.get_by_role("button", name="Send", exact=True).click()
        await expect(test.get_by_role("status").first).to_contain_text("Sent.")
        await test.get_by_role("button", name="Close").first.click()
        await expect(page.locator("#live")).to_contain_text("message.sent")

        for path in ("/docs", "/docs/events", "/docs/errors", "/access"):
            await page.goto(f"{proxy}{path}")
            for link in await page.locator("a[href^='/']").all():
                assert str(await link.get_attribute("href")).startswith(f"{BASE}/")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page).to_have_url(f"{proxy}/")
        await expect(page.get_by_label("Admin key")).to_be_visible()
        assert await page.context.cookies(f"{origin}{BASE}/") == []
