"""Audio, voice notes, stickers and videos on the real engine: what the recipient's phone gets."""

import asyncio
import io
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from tests.system.conftest import NewRing
from tests.system.linking import link
from tests.system.test_kinds_of_messages import NUMBER, RECIPIENT, Chat
from tests.unit.decoding.samples import HEIC, PICTURE, TONE, ffmpeg, scene
from tests.whatsapp import StandIn


@pytest.fixture(scope="module")
async def chat(new_ring: NewRing) -> AsyncIterator[Chat]:
    """One linked session for the module, with a folder of media."""
    async with StandIn.start() as whatsapp:
        ring = await new_ring(engine="neonize", host_environment=whatsapp.engine_environment())
        (Path(ring.directory) / "media").mkdir()
        contact = whatsapp.contact(RECIPIENT)
        session = await link(ring, whatsapp.phone(NUMBER))
        yield Chat(ring, session, contact)
        await ring.stop()


@pytest.fixture
def media(chat: Chat) -> Path:
    """The folder of local media."""
    return Path(chat.ring.directory) / "media"


async def received(chat: Chat, **body: Any) -> Any:
    """Send a message, and return what the contact's phone gets: protobuf and file."""
    answer = await chat.send(**body)
    assert answer.status_code == 200, answer.text
    return await chat.message(answer.json()["messageId"])


async def test_a_voice_note(chat: Chat, media: Path) -> None:
    ffmpeg(media / "note.wav", *TONE)
    got = await received(chat, type="voice", mediaUrl="note.wav")
    note = got.proto.audioMessage
    assert (note.mimetype, note.PTT, note.seconds) == ("audio/ogg; codecs=opus", True, 2)
    assert len(note.waveform) == 64
    assert note.fileLength == len(got.media)
    with av.open(io.BytesIO(got.media)) as container:
        (stream,) = container.streams.audio
        assert (container.format.name, stream.codec_context.name) == ("ogg", "opus")
        assert stream.channels == 1


async def test_an_audio_file_arrives_as_it_is(chat: Chat, media: Path) -> None:
    data = ffmpeg(media / "song.mp3", *TONE).read_bytes()
    got = await received(chat, type="audio", mediaUrl="song.mp3", message="no caption is shown")
    assert got.media == data
    part = got.proto.audioMessage
    assert (part.mimetype, part.PTT, part.seconds) == ("audio/mpeg", False, 2)


async def test_a_sticker(chat: Chat, media: Path) -> None:
    scene("RGBA").save(media / "sticker.png")
    got = await received(chat, type="sticker", mediaUrl="sticker.png")
    part = got.proto.stickerMessage
    assert (part.mimetype, part.width, part.height) == ("image/webp", 512, 512)
    assert not part.isAnimated
    with Image.open(io.BytesIO(got.media)) as became:
        assert (became.format, became.size) == ("WEBP", (512, 512))


async def test_a_reply_with_a_voice_note_quotes(chat: Chat, media: Path) -> None:
    ffmpeg(media / "answer.ogg", *TONE, "-ac", "1", "-c:a", "libopus")
    quoted = {"messageId": "3A00FF", "sender": RECIPIENT, "text": "a question"}
    got = await received(chat, type="voice", mediaUrl="answer.ogg", replyTo=quoted)
    assert got.media == (media / "answer.ogg").read_bytes()
    assert got.proto.audioMessage.contextInfo.stanzaID == "3A00FF"


async def test_a_video_has_thumbnail_duration_and_size(chat: Chat, media: Path) -> None:
    source = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-t", "2")
    ffmpeg(media / "clip.mov", *PICTURE, *TONE, *source, "-c:a", "pcm_s16le")
    got = await received(chat, type="video", mediaUrl="clip.mov", message="Watch!")
    part = got.proto.videoMessage
    assert (part.mimetype, part.caption, part.seconds) == ("video/mp4", "Watch!", 2)
    assert (part.width, part.height) == (320, 240)
    with Image.open(io.BytesIO(part.JPEGThumbnail)) as small:
        assert small.size == (72, 54)
    with av.open(io.BytesIO(got.media)) as container:
        codecs = [stream.codec_context.name for stream in container.streams]
    assert codecs == ["h264", "aac"]


async def test_a_picture_that_phones_do_not_show_is_converted(chat: Chat, media: Path) -> None:
    (media / "photo.heic").write_bytes(HEIC)
    got = await received(chat, type="image", mediaUrl="photo.heic")
    part = got.proto.imageMessage
    assert (part.mimetype, part.width, part.height) == ("image/jpeg", 64, 48)
    with Image.open(io.BytesIO(got.media)) as became:
        assert (became.format, became.size) == ("JPEG", (64, 48))


async def test_damaged_files_end_their_own_messages_with_400(chat: Chat, media: Path) -> None:
    (media / "photo.heic").write_bytes(HEIC)
    (media / "broken").write_bytes(HEIC[:200])
    (media / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    kinds = ("image", "sticker", "audio", "voice", "video")
    *refused, good, drawing = await asyncio.gather(
        *(chat.send(type=kind, mediaUrl="broken") for kind in kinds),
        chat.send(type="image", mediaUrl="photo.heic"),
        chat.send(type="image", mediaUrl="drawing.svg"),
    )
    for kind, answer in zip(kinds, refused, strict=True):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), kind
        assert "damaged" in answer.json()["error"] or "not of type" in answer.json()["error"]
    assert good.status_code == 200
    assert drawing.status_code == 400
    assert "SVG" in drawing.json()["error"]


async def test_by_upload_and_by_data_url(chat: Chat, media: Path) -> None:
    client = chat.ring.client(chat.token)
    data = ffmpeg(media / "uploaded.mp3", *TONE).read_bytes()
    uploaded = await client.post("/api/media", files={"file": ("song.mp3", data, "audio/mpeg")})
    assert uploaded.status_code == 201, uploaded.text
    media_id = uploaded.json()["mediaId"]
    assert (await received(chat, type="audio", mediaId=media_id)).media == data
    document = (await received(chat, type="document", mediaId=media_id)).proto.documentMessage
    assert (document.fileName, document.mimetype) == ("song.mp3", "audio/mpeg")
    inline = f"data:audio/mpeg;base64,{b64encode(data).decode()}"
    assert (await received(chat, type="audio", mediaUrl=inline)).media == data
    note = (await received(chat, type="voice", mediaUrl=inline)).proto.audioMessage
    assert (note.PTT, note.seconds) == (True, 2)
    assert (await client.delete(f"/api/media/{media_id}")).status_code == 204
    gone = await chat.send(type="audio", mediaId=media_id)
    assert (gone.status_code, gone.json()["code"]) == (404, "media_not_found")
