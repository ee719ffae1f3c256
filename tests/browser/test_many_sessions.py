"""The main page with 10,000 sessions: a change shows, a search finds one."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from playwright.async_api import expect
from uuid_utils.compat import uuid7

from tests.browser.operator import Operator
from tests.system.ring import Ring
from tests.system.rings import NewRing

MANY = 10_000
_COLUMNS = (
    *("session_id", "partition", "name", "phone_number", "status", "desired_state"),
    *("connected_at", "created_at"),
)


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """A ring that knows 10,000 sessions: one is real, the others stand in the projection only."""
    ring = await new_ring(host_environment={"SIMULATED_LINKS_AFTER": "0.1"})
    now = datetime.now(UTC)
    rows = [
        (
            *(uuid7(), number % 64, f"Branch {number}", str(10_000_000_000 + number * 7919)),
            *("working" if number % 10 else "logged_out", "running"),
            *(now, now - timedelta(seconds=number)),
        )
        for number in range(1, MANY)
    ]
    connection = await asyncpg.connect(ring.databases.api)
    try:
        await connection.copy_records_to_table("sessions", records=rows, columns=_COLUMNS)
        await connection.execute("ANALYZE sessions")
    finally:
        await connection.close()
    session = await ring.create_session("the real one")
    await ring.wait_for_status(session["sessionId"], "working")
    return ring


async def test_a_change_shows_and_a_search_finds_one_of_them(
    operator: Operator, ring: Ring
) -> None:
    await operator.shows("the real one", "Working")
    await expect(operator.page.get_by_text("of 10,000")).to_be_visible()
    [session] = [
        one
        for one in (await ring.admin.get("/api/sessions")).json()["items"]
        if one["name"] == "the real one"
    ]
    await ring.admin.post(f"/api/sessions/{session['sessionId']}/stop")
    await operator.shows("the real one", "Stopped")
    await operator.page.get_by_role("searchbox").fill("Branch 7777")
    await expect(operator.row("Branch 7777")).to_be_visible(timeout=60_000)
