"""Media that the media store keeps, and links to media."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.integration.api.running import KEYS, RunningApi
from tests.integration.api.scripted_host import ScriptedHost
from wa_api.access.media_links import MediaLinks
from wa_api.settings import Settings
from wa_contracts.ids import MessageId, new_id
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.message_events import MessageReceived
from wa_contracts.session_events import SessionStopped
from wa_runtime.media_store.kept_media import KeptFile, KeptMedia
from wa_runtime.media_store.store import MediaStore

CONTENT = bytes(range(256)) * 1000
LATER = datetime.now(UTC) + timedelta(days=1)
LIFE = timedelta(minutes=5)


class Received:
    """A document that arrived at a session which is stopped now."""

    def __init__(self, api: RunningApi, session: dict[str, Any], message_id: MessageId) -> None:
        self.api = api
        self.session_id = UUID(session["sessionId"])
        self.token = session["token"]
        self.id = message_id

    @property
    def path(self) -> str:
        """Where its media is."""
        return f"/api/messages/{self.id}/media"

    def link(self, life: timedelta = LIFE) -> str:
        """A link to its media."""
        return MediaLinks(KEYS.encryption).link(self.api.base_url, self.id, life)[0]


@pytest.fixture
def kept(settings: Settings) -> KeptMedia:
    """The media store as a host writes it."""
    return KeptMedia(MediaStore(settings.upload_store))


@pytest.fixture
async def received(api: RunningApi, host: ScriptedHost) -> Received:
    session = await api.new_session(host)
    message_id = MessageId(new_id())
    await host.happen(
        UUID(session["sessionId"]),
        MessageReceived(
            id=message_id,
            message_id="3A00",
            chat="1@lid",
            sender="1@lid",
            type="document",
            media_mime_type="application/pdf",
            received_at=datetime.now(UTC),
        ),
    )
    await host.happen(UUID(session["sessionId"]), SessionStopped())
    await api.reaches(session["sessionId"], "stopped")
    return Received(api, session, message_id)


async def once() -> AsyncIterator[bytes]:
    """The file in pieces."""
    for at in range(0, len(CONTENT), 65_536):
        yield CONTENT[at : at + 65_536]


def known(**changed: Any) -> KeptFile:
    """What a host stores beside a file."""
    values: dict[str, Any] = {
        "mime_type": "application/pdf",
        "file_name": "Rechnung 東京.pdf",
        "size": len(CONTENT),
        "expires_at": LATER,
    }
    return KeptFile(**values | changed)


async def test_kept_media_needs_no_working_session(received: Received, kept: KeptMedia) -> None:
    api = received.api
    without = await api.admin.get(received.path)
    assert (without.status_code, without.json()["code"]) == (409, "session_stopped")
    await kept.write(received.session_id, received.id, known(), once())
    for client in (api.admin, api.client(received.token)):
        answer = await client.get(received.path)
        assert answer.status_code == 200, answer.text
        assert answer.content == CONTENT
        assert answer.headers["content-type"] == "application/pdf"
        assert int(answer.headers["content-length"]) == len(CONTENT)
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "Rechnung%20%E6%9D%B1%E4%BA%AC.pdf" in answer.headers["content-disposition"]
    assert (await api.anonymous.get(received.path)).status_code == 401


async def test_expired_media_is_not_served(received: Received, kept: KeptMedia) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    await kept.write(received.session_id, received.id, known(expires_at=before), once())
    answer = await received.api.admin.get(received.path)
    assert (answer.status_code, answer.json()["code"]) == (409, "session_stopped")


async def test_why_media_is_not_kept_is_said(received: Received, kept: KeptMedia) -> None:
    failure = ErrorDetail(code="media_gone", message="WhatsApp does not keep this media any more.")
    await kept.describe(received.session_id, received.id, known(failure=failure))
    answer = await received.api.admin.get(received.path)
    assert (answer.status_code, answer.json()["code"]) == (410, "media_gone")
    assert answer.json()["error"] == failure.message


async def test_a_link_needs_no_token_and_opens_one_file(
    received: Received, kept: KeptMedia
) -> None:
    await kept.write(received.session_id, received.id, known(), once())
    anonymous, link = received.api.anonymous, received.link()
    answer = await anonymous.get(link)
    assert answer.status_code == 200, answer.text
    assert answer.content == CONTENT
    assert "sandbox" in answer.headers["content-security-policy"]
    other = link.replace(str(received.id), str(new_id()))
    signature = link.partition("signature=")[2]
    for changed in (other, link.replace("expires=1", "expires=2"), f"{link}x"):
        refused = await anonymous.get(changed)
        assert (refused.status_code, refused.json()["code"]) == (403, "media_link_invalid")
        assert refused.json()["docs"] == "/docs/errors#media_link_invalid"
    ended = await anonymous.get(received.link(timedelta(seconds=-1)))
    assert (ended.status_code, ended.json()["code"]) == (410, "media_link_expired")
    bare = await anonymous.get(f"/api/links/{received.id}?signature={signature}")
    assert (bare.status_code, bare.json()["code"]) == (400, "invalid_request")
    assert (await anonymous.get(f"{received.path}?{link.partition('?')[2]}")).status_code == 401


async def test_a_link_to_a_message_that_is_forgotten_is_not_found(api: RunningApi) -> None:
    link = MediaLinks(KEYS.encryption).link(api.base_url, new_id(), LIFE)[0]
    answer = await api.anonymous.get(link)
    assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")


async def test_without_the_store_media_comes_later(received: Received, settings: Settings) -> None:
    assert (await received.api.admin.get(received.path)).status_code == 409
    store = settings.data_dir / "uploads"
    store.rename(away := settings.data_dir / "away")
    store.write_text("a file where the store's folder was")
    try:
        answer = await received.api.admin.get(received.path)
    finally:
        store.unlink()
        away.rename(store)
    assert (answer.status_code, answer.json()["code"]) == (503, "media_store_unavailable")
    assert "retry-after" in answer.headers
