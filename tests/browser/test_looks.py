"""Every page and state: no violation that axe finds, no sideways scrolling."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.looks import SCREENSHOTS, examine, fits, photograph
from tests.browser.operator import WIDE, Operator
from tests.browser.states import put_into_state
from tests.proxy import proxy_to
from tests.system.ring import Ring
from tests.system.rings import NewRing

PICTURES = Path(__file__).parents[2] / "docs" / "images"
NAMES = ("Sales", "Support", "Warehouse", "Deliveries", "Night desk", "Old phone")


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """An installation with some life in it: sessions in several states, messages."""
    ring = await new_ring(host_environment={"SIMULATED_LINKS_AFTER": "0.1"})
    sessions = {name: await ring.create_session(name) for name in reversed(NAMES)}
    for session in sessions.values():
        await ring.wait_for_status(session["sessionId"], "working")
    for to in ("919876543210", "12345678900", "447911123456", "19995550000", "19995550002"):
        await ring.send(sessions["Sales"]["token"], to=to, type="text", message="hello")
    await ring.admin.post(f"/api/sessions/{sessions['Night desk']['sessionId']}/stop")
    await ring.admin.post(f"/api/sessions/{sessions['Old phone']['sessionId']}/logout")
    await ring.end("host-0")
    await ring.add_host({"SIMULATED_LINKS_AFTER": "3600", "SIMULATED_QR_SECONDS": "120"})
    waiting = await ring.create_session("Front office")
    await ring.wait_for_status(waiting["sessionId"], "scan_qr")
    await ring.wait_for_status(sessions["Sales"]["sessionId"], "working")
    return ring


async def test_signed_out(visitor: Operator) -> None:
    await visitor.page.goto("/")
    await examine(visitor.page, "signed-out", full=True, documentation=True)
    await visitor.page.get_by_label("Admin key").fill("wrong")
    await visitor.page.get_by_role("button", name="Sign in").click()
    await expect(visitor.page.get_by_role("alert")).to_be_visible()
    await examine(visitor.page, "wrong-key")
    await visitor.page.goto("/docs")
    await examine(visitor.page, "reference")
    await visitor.page.goto("/docs/events")
    await examine(visitor.page, "event-reference")


async def test_sessions(operator: Operator) -> None:
    page = operator.page
    await operator.shows("Sales", "Working")
    await expect(operator.table.locator("tbody tr")).to_have_count(len(NAMES) + 1)
    await examine(page, "sessions", full=True)
    await page.set_viewport_size({"width": WIDE["width"], "height": 960})
    await page.emulate_media(color_scheme="light")
    await photograph(page, "dashboard")
    renew_picture("dashboard.png", "dashboard.png")
    await operator.status_of("Old phone").focus()
    await operator.row("Sales").get_by_role("button", name="Reveal token").click()
    await expect(operator.row("Sales").locator("[data-token]")).to_have_class("is-revealed")
    await operator.status_of("Old phone").focus()
    await examine(page, "tip-and-token")
    await operator.row("Support").get_by_role("button", name="More actions").click()
    await examine(page, "menu", forms=["wide"])
    await page.get_by_role("menuitem", name="Options").click()
    await expect(page.get_by_role("dialog", name="Options")).to_be_visible()
    await examine(page, "options")
    await page.keyboard.press("Escape")
    await operator.row("Support").get_by_role("button", name="More actions").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await examine(page, "delete")
    await page.keyboard.press("Escape")
    await operator.row("Sales").get_by_role("button", name="Send a test message").click()
    await page.get_by_label("To", exact=True).fill("919876543210")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.get_by_text("WhatsApp's id")).to_be_visible()
    await examine(page, "test-message")
    await page.keyboard.press("Escape")
    await page.get_by_role("searchbox").fill("nobody is called so")
    await expect(page.get_by_text("No session fits.")).to_be_visible()
    await examine(page, "nothing-found")


async def test_every_width_is_enough(operator: Operator, ring: Ring) -> None:
    await put_into_state(ring, "Deliveries", "disconnected", "connect_failed")  # the longest word
    await operator.shows("Deliveries", "Disconnected")
    await every_width_is_enough(operator, "sessions")
    await operator.row("Sales").get_by_role("link").click()
    await expect(operator.page.locator("#live-state")).to_have_text("Listening")
    await every_width_is_enough(operator, "session")
    for path in ("/docs", "/docs/events"):
        await operator.page.goto(path)
        await every_width_is_enough(operator, path)


async def every_width_is_enough(operator: Operator, what: str) -> None:
    for width in range(320, WIDE["width"], 40):
        await operator.page.set_viewport_size({"width": width, "height": 800})
        await fits(operator.page, f"{what}, {width} px")
    await operator.page.set_viewport_size(WIDE)


async def test_linking(operator: Operator, ring: Ring) -> None:
    page = operator.page
    await page.get_by_role("button", name="Connect New Session").click()
    await examine(page, "connect-name")
    await page.keyboard.press("Escape")
    await operator.begin_to_connect("Reception")
    await expect(page.locator(".qr-picture")).to_be_visible()
    await examine(page, "connect-qr")
    await operator.dialog.get_by_role("tab", name="Use pairing code").click()
    await operator.dialog.get_by_label("Phone number").fill("919876543210")
    await operator.dialog.get_by_role("button", name="Get code").click()
    await expect(page.locator("#pairing-code")).to_be_visible()
    await examine(page, "connect-pairing-code")
    endings = {
        "refused": ("failed", "pairing_failed", "Linking was refused"),
        "out-of-reach": ("disconnected", "connect_failed", "WhatsApp cannot be reached"),
    }
    for name, (status, reason, heading) in endings.items():
        await put_into_state(ring, "Reception", status, reason)
        await expect(operator.dialog.get_by_role("heading", name=heading)).to_be_visible()
        await examine(page, f"connect-{name}", forms=["narrow"])


async def test_a_session_and_an_absent_one(operator: Operator) -> None:
    page = operator.page
    await operator.row("Sales").get_by_role("link").click()
    await expect(page.locator("#live-state")).to_have_text("Listening")
    await examine(page, "session", full=True)
    renew_picture("session-light-wide.png", "session.png")
    unknown = page.get_by_role("row").filter(has_text="Unknown")
    await unknown.get_by_role("button", name="Resend the message").click()
    await expect(page.get_by_role("dialog", name="Send it once more?")).to_be_visible()
    await examine(page, "resend")
    await page.keyboard.press("Escape")
    operator.expect_complaints("status of 404")
    await page.goto("/sessions/00000000-0000-7000-8000-000000000000")
    await examine(page, "no-such-session")


def renew_picture(screenshot: str, name: str) -> None:
    """Put a screenshot into the documentation, if pictures are taken."""
    if "SCREENSHOTS" in os.environ:
        shutil.copy(SCREENSHOTS / screenshot, PICTURES / name)


async def test_empty_and_out_of_reach(browser: Browser, new_ring: NewRing) -> None:
    ring = await new_ring()
    async with Operator.at(browser, ring.url()) as operator:
        await operator.sign_in(ring.admin_key)
        await expect(operator.table).to_contain_text("No active sessions.")
        await examine(operator.page, "empty")
        operator.expect_complaints("ERR_|Failed to load resource")
        await ring.end("api-0")
        await expect(operator.page.locator("#connection")).to_be_visible()
        await examine(operator.page, "out-of-reach")


async def test_two_hosts_and_a_database_that_is_away(browser: Browser, new_ring: NewRing) -> None:
    ring = await new_ring(hosts=2, apis=0, host_environment={"SIMULATED_LINKS_AFTER": "0.1"})
    async with proxy_to(ring.databases.api) as (proxy, url):
        number = await ring.add_api({"API_DATABASE_URL": url})
        session = await ring.create_session("Sales")
        await ring.wait_for_status(session["sessionId"], "working")
        async with Operator.at(browser, ring.url(number)) as operator:
            await operator.sign_in(ring.admin_key)
            await expect(operator.page.get_by_label("Hosts").get_by_role("listitem")).to_have_count(
                2
            )
            await examine(operator.page, "two-hosts")
            operator.expect_complaints("Failed to load resource")
            proxy.accepting = False
            proxy.cut()
            await expect(operator.table).to_contain_text("The database is away.")
            await examine(operator.page, "database-away")
            await operator.page.goto(f"/sessions/{session['sessionId']}")
            heading = operator.page.get_by_role("heading", name="The database is away")
            await expect(heading).to_be_visible()
            await examine(operator.page, "session-database-away")
            proxy.heal()
            await expect(operator.page.get_by_role("heading", name="Sales")).to_be_visible()
