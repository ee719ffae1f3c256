"""The dialog of test messages: every type, with its fields and a file from the disk."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import FilePayload, Locator, expect

from tests.browser.looks import examine
from tests.browser.operator import Operator
from tests.system.ring import Ring
from tests.system.rings import NewRing
from tests.unit.decoding.samples import PICTURE, TONE, ffmpeg
from wa_contracts.internal.commands import MessageType

TO = "919876543210"
PATIENT = 60_000


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    return await new_ring(host_environment={"SIMULATED_LINKS_AFTER": "0.1"})


@pytest.fixture
async def session(ring: Ring, operator: Operator) -> dict[str, Any]:
    """A working session whose dialog is open."""
    session = await ring.create_session("tester")
    await ring.wait_for_status(session["sessionId"], "working")
    row = operator.row(session["sessionId"])
    await row.get_by_role("button", name="Send a test message").click()
    return session


@pytest.fixture
def dialog(operator: Operator, session: dict[str, Any]) -> Locator:
    return operator.page.get_by_role("dialog", name="Send a test message")


def png() -> FilePayload:
    """A picture on the disk."""
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(out, "PNG")
    return {"name": "photo é.png", "mimeType": "image/png", "buffer": out.getvalue()}


async def send(dialog: Locator) -> str:
    """Press the button; WhatsApp's id of what was sent."""
    await dialog.get_by_role("button", name="Send", exact=True).click()
    result = dialog.get_by_role("status").first
    await expect(result).to_contain_text("WhatsApp's id: 3EB0", timeout=PATIENT)
    found = re.search(r"3EB0\w+", await result.inner_text())
    assert found
    return found[0]


async def choose(dialog: Locator, kind: str) -> None:
    """A recipient and a type."""
    await dialog.get_by_label("To", exact=True).fill(f"+{TO}")
    await dialog.get_by_label("Type").select_option(kind)


async def test_every_type_can_be_chosen(dialog: Locator) -> None:
    shown = await dialog.get_by_label("Type").locator("option").all_text_contents()
    assert set(shown) == {str(kind) for kind in MessageType} - {"edit", "revoke"}


async def test_messages_without_a_file(
    ring: Ring, dialog: Locator, session: dict[str, Any]
) -> None:
    client = ring.client(session["token"])
    sent = {}
    await choose(dialog, "text")
    sent["text"] = await send(dialog)
    await choose(dialog, "location")
    await dialog.get_by_label("Place").fill("Brandenburg Gate")
    sent["location"] = await send(dialog)
    await choose(dialog, "contact")
    await dialog.get_by_label("Contact's name").fill("Ada")
    await dialog.get_by_label("Contact's number").fill("+44 7911 123456")
    sent["contact"] = await send(dialog)
    await choose(dialog, "poll")
    await dialog.get_by_label("Question").fill("When?")
    await dialog.get_by_label("Options, one a line").fill("Monday\nTuesday\n")
    await dialog.get_by_label("Reply to").fill(sent["text"])
    await dialog.get_by_label("Mentions").fill(TO)
    sent["poll"] = await send(dialog)
    await choose(dialog, "reaction")
    await dialog.get_by_role("textbox", name="Message's id", exact=True).fill(sent["text"])
    sent["reaction"] = await send(dialog)
    for kind, whatsapp_id in sent.items():
        message = (await client.get(f"/api/messages/{whatsapp_id}")).json()
        assert (message["type"], message["to"]) == (kind, TO)


async def test_files_from_the_disk_and_by_address(
    ring: Ring, dialog: Locator, session: dict[str, Any], tmp_path: Path
) -> None:
    client = ring.client(session["token"])
    clip = (*PICTURE, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-t", "1")
    files: dict[str, Any] = {
        "image": png(),
        "sticker": png(),
        "document": png(),
        "audio": ffmpeg(tmp_path / "song.mp3", *TONE),
        "voice": ffmpeg(tmp_path / "note.wav", *TONE),
        "video": ffmpeg(tmp_path / "clip.mp4", *clip),
    }
    for kind, file in files.items():
        await choose(dialog, kind)
        await dialog.get_by_label("File", exact=True).set_input_files(file)
        if kind in {"image", "document"}:
            await dialog.get_by_label("Caption").fill("Look")
        message = (await client.get(f"/api/messages/{await send(dialog)}")).json()
        assert message["type"] == kind
    (ring.directory / "media").mkdir(exist_ok=True)
    (ring.directory / "media" / "local.png").write_bytes(png()["buffer"])
    await choose(dialog, "image")
    await dialog.get_by_label("File", exact=True).set_input_files([])
    await dialog.get_by_label("or its address").fill("local.png")
    await dialog.get_by_label("View once").check()
    message = (await client.get(f"/api/messages/{await send(dialog)}")).json()
    assert message["type"] == "image"


async def test_what_is_wrong_is_said(operator: Operator, dialog: Locator) -> None:
    operator.expect_complaints("status of 400")
    await choose(dialog, "image")
    await dialog.get_by_role("button", name="Send", exact=True).click()
    await expect(dialog.get_by_role("status").first).to_contain_text("mediaUrl")
    await dialog.get_by_label("File", exact=True).set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    )
    await dialog.get_by_role("button", name="Send", exact=True).click()
    await expect(dialog.get_by_role("status").first).to_contain_text(
        "not of type image", timeout=PATIENT
    )


@pytest.mark.parametrize("kind", ["document", "contact", "poll"])
async def test_the_dialog_is_accessible(operator: Operator, dialog: Locator, kind: str) -> None:
    await choose(dialog, kind)
    await examine(operator.page, f"test-message-{kind}")
