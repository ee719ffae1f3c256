"""The page of API keys and the audit log: a key is created, shown once, used and revoked."""

import httpx
import pytest
from playwright.async_api import expect

from tests.browser.looks import examine
from tests.browser.operator import Operator
from tests.system.ring import Ring
from tests.system.rings import NewRing


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """With one session."""
    ring = await new_ring(environment={"SIMULATED_LINKS_AFTER": "0.1"})
    await ring.create_session("Sales")
    return ring


async def sessions_seen(ring: Ring, key: str) -> httpx.Response:
    """What a program with the key gets."""
    async with ring.client(key) as client:
        return await client.get("/api/sessions")


async def test_a_key_from_its_beginning_to_its_end(operator: Operator, ring: Ring) -> None:
    page = operator.page
    await page.get_by_role("link", name="Access").first.click()
    await expect(page.get_by_text("No API keys.")).to_be_visible()
    await page.get_by_role("button", name="Create API key").click()
    operator.expect_complaints("400")
    await page.get_by_label("Name").fill("CRM")
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page.locator("#key-error")).to_contain_text("'scopes' has at least 1")
    await page.get_by_label("sessions:read").check()
    await page.get_by_label("Sessions (all").select_option(label="Sales")
    await page.get_by_label("Expires").select_option("in 30 days")
    await examine(page, "api-key-dialog")
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page.locator("#made-dialog")).to_be_visible()
    key = await page.locator("#made-key").text_content() or ""
    assert (await sessions_seen(ring, key)).json()["items"][0]["name"] == "Sales"
    await page.get_by_role("button", name="Done").click()
    row = page.locator("[data-key]").filter(has_text="CRM")
    await expect(row).to_contain_text("sessions:read")
    await expect(row).to_contain_text("1 session")
    assert key not in await page.content()
    changes = page.get_by_role("table", name="Audit log")
    await expect(changes).to_contain_text("key.create")
    await expect(changes).to_contain_text("dashboard")
    await examine(page, "access")
    await row.get_by_role("button", name="Revoke CRM").click()
    await page.get_by_role("button", name="Revoke", exact=True).last.click()
    await expect(page.get_by_text("No API keys.")).to_be_visible()
    await expect(changes).to_contain_text("key.revoke")
    assert (await sessions_seen(ring, key)).status_code == 401
    await page.get_by_label("Action").select_option("session.create")
    await page.get_by_role("button", name="Filter").click()
    await expect(changes).not_to_contain_text("key.revoke")
    await expect(changes).to_contain_text("admin key")
