"""An upload is fetched from the media store; a store that is away delays its messages only."""

from pathlib import Path

import pytest
from PIL import Image

from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.content import StoredMedia
from wa_runtime.media_store.store import MediaStore
from wa_session_host.domain.message import Content
from wa_session_host.engine.simulated.engine import Script, SimulatedEngines
from wa_session_host.media.conversion import Converter
from wa_session_host.media.fetching import MediaFetcher
from wa_session_host.media.media_error import MediaError

KEY = "session/upload"
MAX_BYTES = 1_000_000


def fetcher(tmp_path: Path) -> MediaFetcher:
    """With the uploads in `tmp_path`."""
    start = SimulatedEngines(Script()).start_decoder
    return MediaFetcher(
        media_root=tmp_path,
        spool=tmp_path / "spool",
        max_bytes=MAX_BYTES,
        allowed_hosts=(),
        converter=Converter(start, spool=tmp_path / "spool", max_bytes=MAX_BYTES),
        store=MediaStore((tmp_path / "uploads").as_uri()),
    )


def upload(tmp_path: Path, data: bytes) -> None:
    """Put a file where the store has it."""
    path = tmp_path / "uploads" / KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def content(mime_type: str = "application/pdf", name: str | None = None) -> Content:
    return Content(media=StoredMedia(key=KEY, mime_type=mime_type, file_name=name))


@pytest.mark.parametrize(
    ("data", "name", "declared", "mime_type"),
    [
        (b"%PDF-1.7 x", "a.txt", "text/plain", "application/pdf"),
        (b"a,b\n1,2\n", "figures.csv", "text/plain", "text/csv"),
        (bytes([0, 1, 2, 3]), None, "application/vnd.own", "application/vnd.own"),
        (bytes([0, 1, 2, 3]), None, "application/octet-stream", "application/octet-stream"),
    ],
)
async def test_name_and_stated_type_decide_where_the_content_does_not(
    tmp_path: Path, data: bytes, name: str | None, declared: str, mime_type: str
) -> None:
    upload(tmp_path, data)
    ready = fetcher(tmp_path).ready(MessageType.DOCUMENT, content(declared, name))
    async with ready as media:
        assert media is not None
        assert (media.path.read_bytes(), media.mime_type) == (data, mime_type)
        assert media.file_name == (name or "document")
    assert not list((tmp_path / "spool").iterdir())


async def test_an_uploaded_picture_is_converted(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.bmp")
    upload(tmp_path, (tmp_path / "a.bmp").read_bytes())
    async with fetcher(tmp_path).ready(MessageType.IMAGE, content("image/bmp")) as media:
        assert media is not None
        assert media.mime_type == "image/jpeg"
    assert not list((tmp_path / "spool").iterdir())


async def test_a_store_that_is_away_is_tried_again_and_a_missing_file_is_not(
    tmp_path: Path,
) -> None:
    upload(tmp_path, b"%PDF-1.7 x")
    (tmp_path / "uploads").rename(tmp_path / "away")
    (tmp_path / "uploads").write_text("in the way")
    for says, may_pass in (("not reachable", True), ("expired or was deleted", False)):
        with pytest.raises(MediaError, match=says) as raised:
            async with fetcher(tmp_path).ready(MessageType.DOCUMENT, content()):
                pass
        assert (raised.value.code, raised.value.may_pass) == ("media_unavailable", may_pass)
        if may_pass:
            (tmp_path / "uploads").unlink()
    assert not list((tmp_path / "spool").iterdir())
