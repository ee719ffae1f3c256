"""The published examples run as they stand: those of the page, copied with its buttons, and the seed's.

Only the token is filled in; the numbers of the examples are people of the stand-in.
"""

import ast
import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser

from tests.browser.operator import Operator
from tests.system.linking import link
from tests.system.ring import Ring
from tests.system.rings import NewRing
from tests.system.web_of_examples import PDF, example_com, photo
from tests.whatsapp import Contact, ReceivedMessage, StandIn

DOCUMENT = Path(__file__).parents[2] / "docs" / "sending.md"
SEED = Path(__file__).with_name("seed_snippets")
OURS, THEIRS = "447911123456", "919876543210"
ADDRESS = "http://localhost:3000"
PROGRAMS = {"javascript": "node", "python": sys.executable, "curl": "curl"}


@dataclass
class LinkedRing:
    """A ring where the examples expect it, one linked session, and who gets its messages."""

    ring: Ring
    token: str
    contact: Contact
    directory: Path

    async def run(self, language: str, text: str) -> str:
        """Run an example as its reader would; what it printed."""
        if shutil.which(PROGRAMS[language]) is None:
            pytest.skip(f"{language} examples need {PROGRAMS[language]}")
        suffix = {"javascript": "mjs", "python": "py", "curl": "sh"}[language]
        file = self.directory / f"example.{suffix}"
        file.write_text(text.replace("YOUR_TOKEN_HERE", self.token))
        program = "bash" if language == "curl" else PROGRAMS[language]
        process = await asyncio.create_subprocess_exec(
            *(program, str(file)),
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory), "LANG": "C.UTF-8"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, complaints = await process.communicate()
        assert process.returncode == 0, complaints.decode()
        return out.decode()

    async def received(self, number: int) -> Sequence[ReceivedMessage]:
        """The next messages that arrived."""
        return [await self.contact.receive() for _ in range(number)]


@pytest.fixture(scope="module")
async def linked_ring(
    new_ring: NewRing, video: bytes, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LinkedRing]:
    """Port 3000, the real engine, and an example.com that has what the examples send."""
    async with StandIn.start() as whatsapp, example_com(whatsapp, video) as environment:
        ring = await new_ring(
            engine="neonize",
            port=3000,
            environment={"MEDIA_ALLOWED_HOSTS": "example.com"},
            host_environment=environment,
        )
        contact = whatsapp.contact(THEIRS)
        session = await link(ring, whatsapp.phone(OURS))
        yield LinkedRing(ring, session["token"], contact, tmp_path_factory.mktemp("examples"))
        await ring.stop()


@pytest.fixture
async def page(linked_ring: LinkedRing, browser: Browser) -> AsyncIterator[Operator]:
    """The page as anybody sees it, at the address that the examples name."""
    async with Operator.at(browser, ADDRESS) as visitor:
        await visitor.page.goto("/")
        yield visitor


async def copied(page: Operator, label: str, tab: str | None = None) -> str:
    """An example, copied with its button."""
    if tab is not None:
        await page.page.locator("#usage").get_by_role("tab", name=tab).click()
    await page.page.get_by_role("button", name=f"Copy {label}", exact=True).click()
    await page.page.locator(".copy.is-done").first.wait_for()
    return await page.clipboard()


def check_text(received: ReceivedMessage, text: str) -> None:
    """A text arrived, from our number."""
    assert (received.kind, received.text, received.sender) == ("text", text, OURS)


def check_photo(received: ReceivedMessage, caption: str) -> None:
    """The very picture arrived."""
    assert (received.kind, received.caption, received.media) == ("image", caption, photo())


async def run_javascript(linked_ring: LinkedRing, text: str) -> None:
    await linked_ring.run("javascript", text)
    hello, picture = await linked_ring.received(2)
    check_text(hello, "Hello!")
    check_photo(picture, "Check this!")


async def run_python(linked_ring: LinkedRing, text: str) -> None:
    printed = [
        ast.literal_eval(line) for line in (await linked_ring.run("python", text)).splitlines()
    ]
    hello, picture = await linked_ring.received(2)
    check_text(hello, "Hello!")
    check_photo(picture, "Check this out!")
    assert [answer["messageId"] for answer in printed] == [hello.id, picture.id]
    assert all(answer["success"] is True for answer in printed)


async def run_curl(linked_ring: LinkedRing, text: str) -> None:
    answers = values(await linked_ring.run("curl", text))
    hello, picture, document = await linked_ring.received(3)
    check_text(hello, "Hello!")
    check_photo(picture, "Check this!")
    assert (document.kind, document.file_name, document.caption, document.media) == (
        *("document", "report.pdf", "Here is the report"),
        PDF,
    )
    assert [answer["messageId"] for answer in answers] == [hello.id, picture.id, document.id]


RUN = {"javascript": run_javascript, "python": run_python, "curl": run_curl}


@pytest.mark.parametrize(
    ("language", "file"),
    [("javascript", "javascript.mjs"), ("python", "python.txt"), ("curl", "curl.sh")],
)
async def test_the_seeds_snippet_runs_as_it_stands(
    linked_ring: LinkedRing, language: str, file: str
) -> None:
    await RUN[language](linked_ring, (SEED / file).read_text())


@pytest.mark.parametrize(
    ("language", "label", "tab"),
    [
        ("javascript", "JavaScript example", "JavaScript / Node.js"),
        ("python", "Python example", "Python"),
        ("curl", "cURL example", "cURL"),
    ],
)
async def test_the_pages_snippet_runs_as_it_is_copied(
    linked_ring: LinkedRing, page: Operator, language: str, label: str, tab: str
) -> None:
    await RUN[language](linked_ring, await copied(page, label, tab))


TABS = {"javascript": "JavaScript", "python": "Python", "curl": "cURL"}
KINDS = (
    *("text", "image", "video", "document", "audio", "voice", "sticker"),
    *("location", "contact", "poll", "reaction", "reply", "mediaId"),
)
PARTS = {
    "text": "conversation",
    "document": "documentWithCaptionMessage",
    "voice": "audioMessage",
    "poll": "pollCreationMessage",
    "reply": "extendedTextMessage",
    "mediaId": "imageMessage",
}
"""Fields of WhatsApp's message that are not named as the type."""
STANDS_FOR = {
    "reaction": "3EB0601DAAF2EF6BE85000",
    "reply": "3EB0601DAAF2EF6BE85000",
    "mediaId": "019a0c8e-5d2b-7c41-9f0a-6f1d2b3c4d5e",
}
"""Ids of the examples, in whose place their reader puts one of theirs."""


@pytest.fixture(scope="module")
async def own_ids(linked_ring: LinkedRing) -> Mapping[str, str]:
    """The reader's own ids: of a message and of an upload."""
    client = linked_ring.ring.client(linked_ring.token)
    sent = await client.post(
        "/api/messages/send", json={"to": THEIRS, "type": "text", "message": "Hi"}
    )
    await linked_ring.received(1)
    uploaded = await client.post("/api/media", content=photo())
    message, media = sent.json()["messageId"], uploaded.json()["mediaId"]
    return {"reaction": message, "reply": message, "mediaId": media}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_request_of_the_page_runs_in_each_language(
    linked_ring: LinkedRing, page: Operator, own_ids: Mapping[str, str], kind: str
) -> None:
    def own(text: str) -> str:
        return text.replace(STANDS_FOR.get(kind, "\0"), own_ids.get(kind, ""))

    shown = await copied(page, f"{kind} request")
    assert f"\n```json\n{shown}\n```\n" in DOCUMENT.read_text(), "docs/sending.md has it too"
    body = json.loads(own(shown))
    async with httpx.AsyncClient(base_url=ADDRESS, trust_env=False, timeout=45) as client:
        authorization = {"Authorization": f"Bearer {linked_ring.token}"}
        answer = await client.post("/api/messages/send", json=body, headers=authorization)
    assert answer.status_code == 200, answer.text
    for language, tab in TABS.items():
        tabs = page.page.locator(f'[role="tablist"][aria-label="Languages of the {kind} example"]')
        await tabs.get_by_role("tab", name=tab, exact=True).click()
        example = own(await copied(page, f"{kind} example in {tab}"))
        assert example.count("YOUR_TOKEN_HERE") == 1
        printed = await linked_ring.run(language, example)
        assert "true" in printed.lower(), (language, printed)
    got = await linked_ring.received(1 + len(TABS))
    assert answer.json()["messageId"] == got[0].id
    for one in got:
        assert one.proto.HasField(PARTS.get(kind, f"{kind}Message")), one.proto
        assert _without_keys(one.proto) == _without_keys(got[0].proto)
        if kind != "voice":  # each OGG has a number of its own
            assert one.media == got[0].media


def _without_keys(message: Any) -> str:
    """A message without what differs each time it is sent."""
    changing = r"(?m)^ *(URL|directPath|mediaKey|fileSHA256|fileEncSHA256|mediaKeyTimestamp|messageSecret|senderTimestampMS): .*$"
    return re.sub(changing, "", str(message))


async def test_the_documents_programs_send_a_file(linked_ring: LinkedRing) -> None:
    body = {"to": THEIRS, "type": "location", "location": {"latitude": 1, "longitude": 2}}
    (linked_ring.directory / "message.json").write_text(json.dumps(body))
    document = DOCUMENT.read_text()
    for language, mark in {"curl": "sh", "python": "python", "javascript": "js"}.items():
        [program] = re.findall(rf"```{mark}\n(.+?)\n```", document, re.DOTALL)
        await linked_ring.run(language, program)
        [got] = await linked_ring.received(1)
        assert got.proto.locationMessage.degreesLongitude == 2


async def test_an_upload_in_each_language(linked_ring: LinkedRing, page: Operator) -> None:
    (linked_ring.directory / "photo.jpg").write_bytes(photo())
    client = linked_ring.ring.client(linked_ring.token)
    for language, tab in TABS.items():
        tabs = page.page.get_by_label("Languages of the upload example")
        await tabs.get_by_role("tab", name=tab, exact=True).click()
        printed = await linked_ring.run(language, await copied(page, f"upload in {tab}"))
        found = re.search(r"mediaId\W+([0-9a-f-]{36})", printed)
        assert found, printed
        assert (await client.get(f"/api/media/{found[1]}")).content == photo()


async def test_the_examples_of_retries_look_ups_and_events_run(
    linked_ring: LinkedRing, page: Operator
) -> None:
    events = await copied(page, "events example")
    listening = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"exec {events.replace('YOUR_TOKEN_HERE', linked_ring.token)}"),
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert listening.stdout is not None
        async with asyncio.timeout(20):
            assert (await listening.stdout.readline()).startswith(b"retry:")
        example = await copied(page, "example with an idempotency key")
        first = values(await linked_ring.run("curl", example))[0]
        again = values(await linked_ring.run("curl", example))[0]
        assert first["id"] == again["id"]
        (received,) = await linked_ring.received(1)
        check_text(received, "Your order is on its way.")
        await linked_ring.ring.wait_for_message(first["id"], ("sent", "delivered"))
        look_up = (await copied(page, "look-up example")).replace("MESSAGE_ID", first["id"])
        assert values(await linked_ring.run("curl", look_up))[0]["messageId"] == received.id
        async with asyncio.timeout(20):
            while b"event: message.sent" not in await listening.stdout.readline():
                pass
    finally:
        listening.kill()
        await listening.wait()


def values(text: str) -> Sequence[dict[str, Any]]:
    """The JSON values that were printed one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found
