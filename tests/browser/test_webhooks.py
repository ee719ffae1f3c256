"""Webhooks on a session's page: added, tested, paused and resumed, delivered once more, deleted."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect
from standardwebhooks.webhooks import Webhook

from tests.browser.looks import examine
from tests.browser.operator import Operator
from tests.deadlines import eventually
from tests.integration.webhooks.receiver import Receiver, answers, ok, running_receiver
from tests.system.ring import Ring
from tests.system.rings import NewRing

PATIENT = 10_000


@dataclass(frozen=True)
class Scene:
    """Somebody at the page of a session that works, and a receiver."""

    operator: Operator
    ring: Ring
    session: dict[str, Any]
    receiver: Receiver

    def endpoint(self, path: str) -> Locator:
        """The endpoint's entry."""
        return self.operator.page.locator(".webhook").filter(has_text=path)

    async def add(self, path: str, events: str = "") -> str:
        """Add an endpoint by the dialog; its secret, as it can be copied."""
        page = self.operator.page
        await page.get_by_role("button", name="Add endpoint").click()
        await page.get_by_label("Address", exact=True).fill(self.receiver.url(path))
        await page.get_by_label("Events (all").fill(events)
        await page.locator("#webhook-go").click()
        await expect(page.locator("#secret-dialog")).to_be_visible()
        await page.get_by_role("button", name="Copy", exact=True).last.click()
        await expect(self.operator.toasts).to_contain_text("Secret copied.")
        return await self.operator.clipboard()


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """With a process that delivers."""
    ring = await new_ring(
        environment={"SIMULATED_LINKS_AFTER": "0.1", "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1"}
    )
    ring.start_webhooks({"WEBHOOK_RETRY_FIRST_SECONDS": "0.5"})
    return ring


@pytest.fixture
async def scene(browser: Browser, ring: Ring) -> AsyncIterator[Scene]:
    """A new session's page."""
    session = await ring.create_session("Sales")
    await ring.wait_for_status(session["sessionId"], "working")
    async with running_receiver() as receiver, Operator.at(browser, ring.url()) as operator:
        await operator.sign_in(ring.admin_key)
        await operator.page.goto(f"/sessions/{session['sessionId']}")
        yield Scene(operator, ring, session, receiver)


async def test_an_endpoint_from_its_beginning_to_its_end(scene: Scene) -> None:
    page, toasts = scene.operator.page, scene.operator.toasts
    secret = await scene.add("/here", "message.sent session.*")
    await page.get_by_role("button", name="Done").click()
    await expect(page.locator("#webhook-secret")).to_be_empty()
    endpoint = scene.endpoint("/here")
    await expect(endpoint).to_contain_text("message.sent, session.* of this session")
    await endpoint.get_by_role("button", name="Test").click()
    await expect(toasts).to_contain_text("answered 204 in", timeout=PATIENT)
    [test] = scene.receiver.received["/here"]
    Webhook(secret).verify(test.body, dict(test.headers))
    await endpoint.get_by_role("button", name="Pause").click()
    await expect(endpoint).to_contain_text("Paused by hand.")
    sent = await scene.ring.send(
        scene.session["token"], to="919876543210", type="text", message="hi"
    )
    await expect(endpoint).to_contain_text("1 waiting", timeout=PATIENT)
    await endpoint.get_by_role("button", name="Resume").click()
    row = page.get_by_role("row").filter(has_text="message.sent").filter(has_text="Delivered")
    await expect(row).to_be_visible(timeout=PATIENT)
    await row.get_by_role("button", name="Redeliver").click()
    got = scene.receiver.received["/here"]
    await eventually(lambda: len(got) == 3, what="it comes once more")
    assert got[1].event["data"]["messageId"] == sent.json()["messageId"]
    assert (got[1].webhook_id, got[1].body) == (got[2].webhook_id, got[2].body)
    await endpoint.get_by_role("button", name="Delete").click()
    await page.locator("#confirm-go").click()
    await expect(page.locator("#webhooks-none")).to_be_visible(timeout=PATIENT)


async def test_what_is_refused_and_what_fails_says_why(scene: Scene) -> None:
    page, toasts = scene.operator.page, scene.operator.toasts
    scene.operator.expect_complaints("status of 400")
    await page.get_by_role("button", name="Add endpoint").click()
    await page.get_by_label("Address", exact=True).fill("http://10.0.0.1/")
    await page.locator("#webhook-go").click()
    await expect(page.get_by_role("alert").filter(has_text="private")).to_be_visible()
    await page.keyboard.press("Escape")
    scene.receiver.behaviours["/gone"] = answers(410)
    await scene.add("/gone")
    await page.get_by_role("button", name="Done").click()
    await scene.endpoint("/gone").get_by_role("button", name="Test").click()
    await expect(toasts).to_contain_text("It answered 410.", timeout=PATIENT)
    await scene.ring.send(scene.session["token"], to="919876543210", type="text", message="hi")
    await expect(scene.endpoint("/gone")).to_contain_text("It answered 410, Gone.", timeout=PATIENT)
    scene.receiver.behaviours["/gone"] = ok
    await scene.endpoint("/gone").get_by_role("button", name="Resume").click()
    await expect(scene.endpoint("/gone")).to_contain_text("Active", timeout=PATIENT)


async def test_it_looks_well(scene: Scene) -> None:
    page = scene.operator.page
    await scene.add("/orders/whatsapp", "message.*")
    await examine(page, "webhook-secret")
    await page.get_by_role("button", name="Done").click()
    scene.receiver.behaviours["/crm/gone"] = answers(410)
    scene.receiver.behaviours["/audit/fails"] = answers(500)
    for path in ("/crm/gone", "/audit/fails"):
        await scene.add(path)
        await page.get_by_role("button", name="Done").click()
    await page.get_by_role("button", name="Add endpoint").click()
    await examine(page, "webhook-new")
    await page.keyboard.press("Escape")
    await scene.ring.send(scene.session["token"], to="919876543210", type="text", message="hi")
    await expect(scene.endpoint("/crm/gone")).to_contain_text("Gone", timeout=PATIENT)
    await expect(scene.endpoint("/audit/fails")).to_contain_text("Failing", timeout=PATIENT)
    await page.locator("#webhooks").scroll_into_view_if_needed()
    await examine(page, "webhooks", full=True)
