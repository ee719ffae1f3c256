"""Requests from the reference page: authorize once, send, see the answer."""

import re
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.browser.looks import examine
from tests.browser.operator import Operator
from tests.system.ring import Ring
from tests.system.rings import NewRing


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """With sessions that link by themselves."""
    return await new_ring(environment={"SIMULATED_LINKS_AFTER": "0.1"})


@pytest.fixture(scope="module")
async def session(ring: Ring) -> dict[str, Any]:
    """A session that works."""
    session = await ring.create_session("Sales")
    await ring.wait_for_status(session["sessionId"], "working")
    return session


async def opened(operator: Operator, summary: str) -> Locator:
    """The form of that operation."""
    article = operator.page.locator("article").filter(
        has=operator.page.get_by_role("heading", name=summary, exact=True)
    )
    await article.get_by_text("Try it", exact=True).click()
    return article.locator("form")


async def test_a_token_is_given_once_and_sends(visitor: Operator, session: dict[str, Any]) -> None:
    page = visitor.page
    await page.goto("/docs")
    send = await opened(visitor, "Send a message")
    visitor.expect_complaints("401")
    await send.get_by_role("button", name="Send request").click()
    await expect(send.get_by_role("status")).to_contain_text("401")
    await expect(send.locator("pre")).to_contain_text('"code": "unauthorized"')
    await page.get_by_label("Session token").fill(session["token"])
    await expect(send.get_by_label("Body")).to_have_value(re.compile("Hello World!"))
    await send.get_by_role("button", name="Send request").click()
    await expect(send.get_by_role("status")).to_contain_text("200", timeout=30_000)
    await expect(send.locator("pre")).to_contain_text('"status": "sent"')
    await examine(page, "try-it")

    look_up = await opened(visitor, "List messages, newest first")
    await look_up.get_by_label("limit").fill("1")
    await look_up.get_by_role("button", name="Send request").click()
    await expect(look_up.locator("pre")).to_contain_text('"to": "919876543210"')
    visitor.expect_complaints("404")
    one = await opened(visitor, "One message")
    await one.get_by_label("key").fill("a/b")
    await one.get_by_role("button", name="Send request").click()
    await expect(one.locator("pre")).to_contain_text("not_found")


async def test_files_go_and_come_and_streams_can_be_stopped(
    visitor: Operator, session: dict[str, Any]
) -> None:
    page = visitor.page
    await page.goto("/docs")
    await page.get_by_label("Session token").fill(session["token"])
    upload = await opened(visitor, "Upload a file")
    chosen = {"name": "a.bin", "mimeType": "application/x-test", "buffer": b"\x00\x01\x02"}
    await upload.get_by_label("File", exact=True).set_input_files(chosen)  # type: ignore[arg-type]
    await upload.get_by_role("button", name="Send request").click()
    await expect(upload.get_by_role("status")).to_contain_text("201")
    made = await upload.locator("pre").text_content() or ""
    media_id = made.partition('"mediaId": "')[2].partition('"')[0]
    get = await opened(visitor, "An upload")
    await get.get_by_label("media_id").fill(media_id)
    await get.get_by_role("button", name="Send request").click()
    await expect(get.get_by_role("link", name="Save 3 bytes")).to_be_visible()

    events = await opened(visitor, "Follow events")
    await events.get_by_label("Last-Event-Id").fill("0")
    await events.get_by_role("button", name="Send request").click()
    await expect(events.locator("pre")).to_contain_text("event: session.created")
    await events.get_by_role("button", name="Stop").click()
    await expect(events.get_by_role("button", name="Stop")).to_be_hidden()


async def test_the_signed_in_dashboard_needs_no_key(operator: Operator) -> None:
    await operator.page.goto("/docs")
    create = await opened(operator, "Create an API key")
    await create.get_by_label("Body").fill('{"name": "made here", "scopes": ["events:read"]}')
    await create.get_by_role("button", name="Send request").click()
    await expect(create.get_by_role("status")).to_contain_text("201")
    await expect(create.locator("pre")).to_contain_text("wamk_")
