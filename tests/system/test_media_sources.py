"""Every type of media by every source, to a person and to a group: the phone gets the same file."""

import asyncio
import io
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.system.conftest import NewRing
from tests.system.linking import link
from tests.system.media_server import MediaServer
from tests.system.test_kinds_of_messages import NUMBER, RECIPIENT, Chat
from tests.unit.decoding.samples import PICTURE, TONE, ffmpeg, scene
from tests.whatsapp import StandIn

OF_THE_UPLOAD = ("URL", "directPath", "mediaKey", "fileEncSHA256", "mediaKeyTimestamp")
"""Fields that differ with each upload to WhatsApp."""


@dataclass(frozen=True)
class Sources:
    """A chat with a person and with a group, and the places that media comes from."""

    chat: Chat
    group: str
    server: MediaServer
    folder: Path

    async def of(self, name: str, data: bytes, mime_type: str) -> list[dict[str, str]]:
        """The fields that name this file, by each source."""
        client = self.chat.ring.client(self.chat.token)
        uploaded = await client.post("/api/media", files={"file": (name, data, mime_type)})
        assert uploaded.status_code == 201, uploaded.text
        (self.folder / name).write_bytes(data)
        return [
            {"mediaUrl": self.server.put(name, data)},
            {"mediaUrl": name},
            {"mediaUrl": f"data:{mime_type};base64,{b64encode(data).decode()}"},
            {"mediaId": uploaded.json()["mediaId"]},
        ]


@pytest.fixture(scope="module")
async def sources(new_ring: NewRing) -> AsyncIterator[Sources]:
    """One linked session for the module."""
    async with StandIn.start() as whatsapp, MediaServer.start() as server:
        ring = await new_ring(
            engine="neonize",
            environment={"MEDIA_ALLOWED_HOSTS": "127.0.0.1"},
            host_environment=whatsapp.engine_environment(),
        )
        (folder := Path(ring.directory) / "media").mkdir()
        contact = whatsapp.contact(RECIPIENT)
        session = await link(ring, whatsapp.phone(NUMBER))
        group = whatsapp.group("Team", NUMBER, RECIPIENT)
        yield Sources(Chat(ring, session, contact), group, server, folder)
        await ring.stop()


def picture(form: str) -> Callable[[Path], bytes]:
    """Makes a picture of 512 x 512 pixels."""

    def make(_: Path) -> bytes:
        out = io.BytesIO()
        scene("RGB").resize((512, 512)).save(out, form)
        return out.getvalue()

    return make


def recorded(*arguments: str) -> Callable[[Path], bytes]:
    """Makes a file with the ffmpeg program."""
    return lambda path: ffmpeg(path, *arguments).read_bytes()


def pdf(_: Path) -> bytes:
    """As much of a PDF as tells its type."""
    return b"%PDF-1.7\n" + bytes(range(256)) * 40


CLIP = (*PICTURE, *TONE, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest")
NOTE = (*TONE, "-ac", "1", "-c:a", "libopus")
PICTURED = {"width": 512, "height": 512}
KINDS: dict[str, tuple[str, str, Callable[[Path], bytes], dict[str, Any], dict[str, Any]]] = {
    "image": (
        *("photo.jpg", "image/jpeg", picture("JPEG"), {"message": "Look"}),
        {**PICTURED, "caption": "Look", "mimetype": "image/jpeg"},
    ),
    "video": (
        *("clip.mp4", "video/mp4", recorded(*CLIP), {"message": "Watch"}),
        {"width": 320, "height": 240, "seconds": 2, "caption": "Watch", "mimetype": "video/mp4"},
    ),
    "document": (
        *("report.pdf", "application/pdf", pdf, {"message": "Read", "fileName": "Bericht é.pdf"}),
        {"fileName": "Bericht é.pdf", "caption": "Read", "mimetype": "application/pdf"},
    ),
    "audio": (
        *("song.mp3", "audio/mpeg", recorded(*TONE), {}),
        {"PTT": False, "seconds": 2, "mimetype": "audio/mpeg"},
    ),
    "voice": (
        *("note.ogg", "audio/ogg", recorded(*NOTE), {}),
        {"PTT": True, "seconds": 2, "mimetype": "audio/ogg; codecs=opus"},
    ),
    "sticker": (
        *("sticker.webp", "image/webp", picture("WEBP"), {}),
        {**PICTURED, "isAnimated": False, "mimetype": "image/webp"},
    ),
}
"""By type: file name, MIME type, content, what else is sent, and the fields that phones get."""


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_a_file_arrives_the_same_from_everywhere(
    sources: Sources, tmp_path: Path, kind: str
) -> None:
    name, mime_type, make, more, expected = KINDS[kind]
    data = make(tmp_path / name)
    named = await sources.of(name, data, mime_type)
    chat = sources.chat
    bodies = [
        {"to": to, "type": kind, **more, **one}
        for to in (RECIPIENT, sources.group)
        for one in named
    ]
    answers = await asyncio.gather(*(chat.send(**body) for body in bodies))
    parts = []
    for body, answer in zip(bodies, answers, strict=True):
        assert answer.status_code == 200, (body, answer.text)
        got = await chat.message(answer.json()["messageId"])
        assert got.media == data, body
        parts.append(_part(got.proto))
    for part in parts:
        assert {field: getattr(part, field) for field in expected} == expected
        assert part.fileLength == len(data)
        for field in OF_THE_UPLOAD:
            assert getattr(part, field) or field == "mediaKeyTimestamp", field
            part.ClearField(field)
    assert all(part == parts[0] for part in parts), parts
    if kind in {"image", "video"}:
        with Image.open(io.BytesIO(parts[0].JPEGThumbnail)) as small:
            assert max(small.size) <= 100
    if kind == "voice":
        assert len(parts[0].waveform) == 64


def _part(proto: Any) -> Any:
    """The message's only part, which describes the file."""
    if proto.HasField("documentWithCaptionMessage"):
        proto = proto.documentWithCaptionMessage.message
    [part] = [
        value
        for field, value in proto.ListFields()
        if field.name not in {"messageContextInfo", "senderKeyDistributionMessage"}
    ]
    return part
