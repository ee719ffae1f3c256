"""Links to media: only for that file, only until they end, over a change of the key."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from wa_api.access.media_links import MediaLinks
from wa_api.http.problems import Problem
from wa_api.webhooks.delivering.media_link import with_media_link

BASE = "https://gateway.example.com/whatsapp"
KEY, OTHER = SecretStr("k" * 32), SecretStr("o" * 32)
LIFE = timedelta(hours=1)
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def parts(link: str) -> tuple[str, int, str]:
    """The message, end and signature of a link."""
    address = urlsplit(link)
    query = parse_qs(address.query)
    return address.path.rpartition("/")[2], int(query["expires"][0]), query["signature"][0]


def refusal(links: MediaLinks, message_id: str, expires: int, signature: str) -> tuple[int, str]:
    """Status and code with which a link is refused."""
    with pytest.raises(Problem) as raised:
        links.check(message_id, expires, signature)
    return raised.value.status, raised.value.code


def test_a_link_is_good_until_it_ends() -> None:
    clock, message_id = Clock(), uuid4()
    links = MediaLinks(KEY, clock=clock)
    link, ends = links.link(BASE, message_id, LIFE)
    assert link.startswith(f"{BASE}/api/links/{message_id}?")
    assert ends == START + LIFE
    clock.now = ends - timedelta(seconds=1)
    links.check(*parts(link))
    clock.now = ends
    assert refusal(links, *parts(link)) == (410, "media_link_expired")


def test_a_link_is_good_for_its_file_and_its_end_alone() -> None:
    links = MediaLinks(KEY, clock=Clock())
    message_id, expires, signature = parts(links.link(BASE, uuid4(), LIFE)[0])
    other = "A" if signature[0] != "A" else "B"
    for changed in (
        (str(uuid4()), expires, signature),
        (message_id, expires + 1, signature),
        (message_id, expires, other + signature[1:]),
        (message_id, expires, signature[:-1]),
        (message_id, expires, ""),
        (message_id, expires, "é"),
        (message_id.upper(), expires, signature),
    ):
        if changed != (message_id, expires, signature):
            assert refusal(links, *changed) == (403, "media_link_invalid")
    assert refusal(MediaLinks(OTHER, clock=Clock()), message_id, expires, signature)[0] == 403


def test_a_link_of_the_former_key_is_good_during_a_rotation() -> None:
    link, _ = MediaLinks(OTHER, clock=Clock()).link(BASE, uuid4(), LIFE)
    rotating = MediaLinks(KEY, OTHER, clock=Clock())
    rotating.check(*parts(link))
    made, _ = rotating.link(BASE, uuid4(), LIFE)
    MediaLinks(KEY, clock=Clock()).check(*parts(made))


def test_a_body_has_a_link_where_the_message_has_media() -> None:
    message_id = uuid4()

    def link(of: UUID) -> tuple[str, datetime]:
        return f"{BASE}/{of}", START

    media = {"id": str(message_id), "mediaMimeType": "image/png", "text": "東京"}
    body = json.dumps({"data": media})
    got = json.loads(with_media_link("message.received", body, link))
    ends = "2026-01-02T03:04:05Z"
    assert got["data"] == {
        **media,
        "mediaUrl": f"{BASE}/{message_id}",
        "mediaUrlExpiresAt": ends,
    }
    text = json.dumps({"data": {**media, "mediaMimeType": None}})
    assert with_media_link("message.received", text, link) == text
    assert with_media_link("message.echoed", body, link) == body
