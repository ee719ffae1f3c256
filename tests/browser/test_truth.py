"""The page stays true: codes run out, the api restarts, the only host dies."""

import time

import pytest
from playwright.async_api import Browser, Error, expect

from tests.browser.operator import Operator, decoded
from tests.deadlines import eventually
from tests.proxy import Proxy, proxy_to
from tests.system.ring import Ring
from tests.system.rings import NewRing
from wa_api.database.notifications import ANSWER_SECONDS, PROBE_EVERY_SECONDS

LEASE_SECONDS = 10
SOON_MS = 5_000


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """Two QR codes of six seconds each, which nobody scans."""
    return await new_ring(
        environment={"LEASE_SECONDS": str(LEASE_SECONDS)},
        host_environment={
            "SIMULATED_LINKS_AFTER": "3600",
            "SIMULATED_QR_SECONDS": "6",
            "SIMULATED_QR_CODES": "2",
        },
    )


async def test_codes_are_renewed_and_after_the_last_a_new_one_is_one_click(
    operator: Operator,
) -> None:
    await operator.begin_to_connect("slow")
    picture = operator.page.locator(".qr-picture")
    await expect(picture).to_be_visible()
    await expect(operator.page.locator("#countdown")).to_contain_text("Good for")
    seen: set[str] = set()

    async def shown() -> str:
        """The code in the picture; one that is renewed in that very moment is looked at again."""
        try:
            return decoded(await picture.screenshot(timeout=2000))
        except Error as error:
            raise AssertionError(str(error)) from error

    async def both() -> bool:
        if await picture.count():
            seen.add(await shown())
        return len(seen) == 2

    await eventually(both, what="a second code in place of the first")
    await expect(operator.dialog).to_contain_text("The QR code expired")
    await operator.dialog.get_by_role("button", name="Get a new code").click()
    await expect(picture).to_be_visible()
    code = await eventually(shown, what="the new code")
    assert code.startswith("simulated,")
    await operator.dialog.get_by_role("button", name="Cancel").click()
    await expect(operator.row("slow")).to_have_count(0)


async def test_the_page_recovers_by_itself_after_the_api_restarted(
    operator: Operator, ring: Ring
) -> None:
    operator.expect_complaints("ERR_|Failed to load resource")
    await ring.end("api-0")
    await expect(operator.page.locator("#connection")).to_contain_text("is lost")
    await ring.restart("api-0")
    await expect(operator.page.locator("#connection")).to_be_hidden()
    await ring.create_session("after the restart")
    await expect(operator.row("after the restart")).to_be_visible()


async def test_the_only_host_killed_the_page_stops_saying_working_within_the_lease(
    browser: Browser, new_ring: NewRing
) -> None:
    ring = await new_ring(
        environment={"LEASE_SECONDS": str(LEASE_SECONDS)},
        host_environment={"SIMULATED_LINKS_AFTER": "0.1"},
    )
    session = await ring.create_session("alive")
    async with (
        Operator.at(browser, ring.url()) as operator,
        Operator.at(browser, ring.url()) as other,
    ):
        await operator.sign_in(ring.admin_key)
        await operator.shows("alive", "Working")
        await other.sign_in(ring.admin_key)
        await other.page.goto(f"/sessions/{session['sessionId']}")
        own = other.page.locator("[data-status]").first
        await expect(own).to_have_text("Working")
        await ring.kill_host()
        await operator.shows("alive", "Disconnected")
        await expect(own).to_have_text("Disconnected")
        await operator.status_of("alive").hover()
        tip = operator.row("alive").get_by_role("tooltip")
        await expect(tip).to_contain_text("no sign of life")
        await expect(operator.page.get_by_label("Health")).to_contain_text("No session-host")


async def test_the_overview_soon_tells_what_is_away_and_what_is_back(
    browser: Browser, ring: Ring
) -> None:
    """Within 2 s on a calm machine; a database that hangs included (docs/guarantees.md)."""
    assert PROBE_EVERY_SECONDS + ANSWER_SECONDS <= 1.5
    async with (
        proxy_to(ring.databases.api) as (database, database_url),
        proxy_to(ring.broker) as (broker, broker_url),
    ):
        number = await ring.add_api({"API_DATABASE_URL": database_url, "AMQP_URL": broker_url})
        async with Operator.at(browser, ring.url(number)) as operator:
            await operator.sign_in(ring.admin_key)
            health = operator.page.get_by_label("Health")

            async def shows(text: str) -> None:
                began = time.monotonic()
                await expect(health).to_contain_text(text, timeout=SOON_MS)
                print(f"{text!r} after {time.monotonic() - began:.2f} s")

            for strike in (_hangs, _is_gone):
                await shows("Database available")
                strike(database)
                await shows("Database away")
                await expect(operator.table).to_contain_text("The database is away.")
                database.heal()
                await shows("Database available")
                await expect(operator.table).not_to_contain_text("The database is away.")
            _is_gone(broker)
            await shows("Broker away")
            broker.heal()
            await shows("Broker available")


def _hangs(proxy: Proxy) -> None:
    proxy.half_open = True


def _is_gone(proxy: Proxy) -> None:
    proxy.accepting = False
    proxy.cut()
