"""Linking numbers from the page on the real engine: the phone scans the picture that is shown."""

import base64
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from tests.browser.operator import Operator
from tests.deadlines import eventually
from tests.system.ring import Ring
from tests.system.rings import NewRing
from tests.whatsapp import PairingRefused, Phone, StandIn, refusals
from tests.whatsapp.refusals import LoginRefusal

FRIEND = "12345678900"


@pytest.fixture(scope="module")
async def whatsapp() -> AsyncIterator[StandIn]:
    """A stand-in of the module's own."""
    async with StandIn.start() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing, whatsapp: StandIn) -> AsyncIterator[Ring]:
    """A ring whose engine talks to the stand-in; it ends before the stand-in does."""
    ring = await new_ring(engine="neonize", host_environment=whatsapp.engine_environment())
    yield ring
    await ring.stop()


async def scan_what_is_shown(operator: Operator, phone: Phone) -> None:
    """Hold the phone before the screen until it has read the code."""

    async def scanned() -> bool:
        await phone.scan(await operator.read_qr())
        return True

    await expect(operator.page.locator(".qr-picture")).to_be_visible(timeout=60_000)
    await eventually(scanned, what="the phone reads the picture on the page")


async def test_the_phone_scans_the_picture_and_the_dialog_closes_by_itself(
    operator: Operator, whatsapp: StandIn
) -> None:
    phone = whatsapp.phone("919876543210")
    friend = whatsapp.contact(FRIEND)
    await operator.begin_to_connect("Sales")
    await scan_what_is_shown(operator, phone)
    await expect(operator.dialog).to_be_hidden(timeout=60_000)
    await expect(operator.toasts).to_contain_text("+919876543210 is linked")
    await operator.shows("Sales", "Working")
    await expect(operator.row("Sales")).to_contain_text("+919876543210")

    await operator.row("Sales").get_by_role("button", name="Send a test message").click()
    test = operator.page.get_by_role("dialog", name="Send a test message")
    await test.get_by_label("To", exact=True).fill(FRIEND)
    await test.get_by_label("Message", exact=True).fill("Grüße 👋")
    await test.get_by_role("button", name="Send", exact=True).click()
    received = await friend.receive()
    assert received.text == "Grüße 👋"
    await expect(test.get_by_role("status").first).to_contain_text(received.id)
    await test.get_by_role("button", name="Close").first.click()

    await phone.unlink()
    await operator.shows("Sales", "Logged out")
    await operator.status_of("Sales").focus()
    await expect(operator.row("Sales").get_by_role("tooltip")).to_contain_text(
        "Unlinked on the phone"
    )


async def test_by_a_pairing_code(operator: Operator, whatsapp: StandIn) -> None:
    phone = whatsapp.phone("447911123456")
    await operator.begin_to_connect("Support")
    await operator.dialog.get_by_role("tab", name="Use pairing code").click()
    await expect(operator.page.locator("#linking")).to_have_attribute(
        "data-state", "scan_qr", timeout=60_000
    )
    operator.expect_complaints("status of 400")
    await operator.dialog.get_by_label("Phone number").fill("0123")
    await operator.dialog.get_by_role("button", name="Get code").click()
    await expect(operator.dialog.get_by_role("alert")).to_contain_text("phoneNumber")
    await operator.dialog.get_by_label("Phone number").fill("+44 7911 123456")
    await operator.dialog.get_by_role("button", name="Get code").click()
    code = operator.page.locator("#pairing-code")
    await expect(code).to_be_visible(timeout=60_000)
    await phone.enter_pairing_code((await code.text_content()) or "")
    await expect(operator.dialog).to_be_hidden(timeout=60_000)
    await operator.shows("Support", "Working")
    await expect(operator.row("Support")).to_contain_text("+447911123456")

    phone.refuse_login(402, code=101, expire=7200)
    await phone.drop()
    await operator.shows("Support", "Restricted")
    await operator.status_of("Support").focus()
    tip = operator.row("Support").get_by_role("tooltip")
    await expect(tip).to_contain_text(re.compile("wrote to too many people.* It ends in 2 hours"))
    await operator.row("Support").get_by_role("link").click()
    await expect(operator.page.locator(".reason")).to_contain_text("It ends in 2 hours")


async def test_closing_the_dialog_leaves_nothing_behind(operator: Operator, ring: Ring) -> None:
    await operator.begin_to_connect("never linked")
    await expect(operator.page.locator(".qr-picture")).to_be_visible(timeout=60_000)
    await expect(operator.row("never linked")).to_have_count(1)
    await operator.page.keyboard.press("Escape")
    await expect(operator.dialog).to_be_hidden()
    await expect(operator.row("never linked")).to_have_count(0)


async def test_a_refused_link_is_said_and_another_code_is_one_click(
    operator: Operator, whatsapp: StandIn
) -> None:
    await operator.begin_to_connect("refused")
    await expect(operator.page.locator(".qr-picture")).to_be_visible(timeout=60_000)
    text = await eventually(operator.read_qr, what="the code in the picture")
    ref, noise, identity, _, kind = text.split(",")
    forged = ",".join((ref, noise, identity, base64.b64encode(bytes(32)).decode(), kind))
    with pytest.raises(PairingRefused):
        await whatsapp.phone("33698765432").scan(forged)
    await expect(operator.dialog).to_contain_text("An old code was scanned")
    await expect(operator.dialog).to_contain_text("Scan the code that is shown now")
    await operator.dialog.get_by_role("button", name="Get a new code").click()
    await expect(operator.page.locator(".qr-picture")).to_be_visible(timeout=60_000)
    await operator.page.keyboard.press("Escape")
    await expect(operator.row("refused")).to_have_count(0)


FAILURES: tuple[tuple[LoginRefusal, str, str], ...] = (
    (refusals.UNAUTHORIZED, "Linking was refused", "did not accept this device"),
    (refusals.TEMPORARY_BAN, "Linking is restricted for a while", "120 minutes"),
    (refusals.LOCKED, "The account is locked", "Open WhatsApp on the phone"),
    (refusals.OUTDATED, "The client version is outdated", "WHATSAPP_CLIENT_VERSION"),
    (refusals.BANNED, "Banned by WhatsApp", "can be reviewed"),
    (refusals.BAD_USER_AGENT, "Linking was refused", "rejects the name or kind"),
    (refusals.EXPERIMENTAL, "Linking was refused", "answers 501"),
    (refusals.SERVICE_UNAVAILABLE, "WhatsApp cannot be reached", "not available now"),
)


async def test_the_dialog_names_each_refusal_of_whatsapp(
    operator: Operator, whatsapp: StandIn
) -> None:
    try:
        for number, (refusal, heading, says) in enumerate(FAILURES):
            whatsapp.refusals.linking = refusal
            await operator.begin_to_connect(f"refusal {number}")
            shown = operator.dialog.get_by_role("heading", name=heading)
            await expect(shown).to_be_visible(timeout=60_000)
            await expect(operator.dialog).to_contain_text(says)
            await operator.page.keyboard.press("Escape")
            await expect(operator.dialog).to_be_hidden()
    finally:
        whatsapp.refusals.linking = None


async def test_the_dialog_names_a_phone_that_is_too_old_and_a_passkey(
    operator: Operator, whatsapp: StandIn
) -> None:
    phone = whatsapp.phone("34612345678")
    await operator.begin_to_connect("odd")
    await expect(operator.page.locator(".qr-picture")).to_be_visible(timeout=60_000)
    text = await eventually(operator.read_qr, what="the code in the picture")
    await phone.scan_without_multidevice(text)
    alert = operator.dialog.get_by_role("alert").filter(has_text="cannot link devices")
    await expect(alert).to_be_visible(timeout=60_000)
    await expect(operator.page.locator(".qr-picture")).to_be_visible()
    await phone.scan_with_passkey(text)
    heading = operator.dialog.get_by_role("heading", name="A passkey is required")
    await expect(heading).to_be_visible(timeout=60_000)
    await expect(operator.page.locator(".qr-picture")).to_have_count(0)
    await operator.dialog.get_by_role("button", name="Try again").click()
    await scan_what_is_shown(operator, phone)
    await expect(operator.dialog).to_be_hidden(timeout=60_000)
    await operator.shows("odd", "Working")


async def test_with_whatsapp_out_of_reach_the_dialog_says_so_and_the_code_comes_later(
    operator: Operator, whatsapp: StandIn
) -> None:
    whatsapp.offline()
    try:
        await operator.begin_to_connect("far")
        await expect(operator.dialog).to_contain_text("WhatsApp cannot be reached")
        await expect(operator.dialog).to_contain_text("tried again by itself")
    finally:
        whatsapp.online()
    await expect(operator.page.locator(".qr-picture")).to_be_visible(timeout=60_000)
    await operator.dialog.get_by_role("button", name="Cancel").click()
    await expect(operator.row("far")).to_have_count(0)


async def test_whatsapp_out_of_reach_is_said_and_a_waiting_session_is_linked_later(
    operator: Operator, ring: Ring, whatsapp: StandIn
) -> None:
    await ring.create_session("by hand")
    await operator.shows("by hand", "Scan QR")
    await operator.row("by hand").get_by_role("button", name="Link").click()
    await scan_what_is_shown(operator, whatsapp.phone("33612345678"))
    await expect(operator.dialog).to_be_hidden(timeout=60_000)
    await operator.shows("by hand", "Working")
    whatsapp.offline()
    try:
        await operator.shows("by hand", "Disconnected")
        await operator.status_of("by hand").focus()
        tip = operator.row("by hand").get_by_role("tooltip")
        await expect(tip).to_contain_text("tried again by itself")
        await expect(tip).to_contain_text(re.compile(r"Reconnecting for \d+ s"))
    finally:
        whatsapp.online()
    await operator.shows("by hand", "Working")
