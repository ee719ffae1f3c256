"""A decoder is a process with limits; what it refuses or exceeds ends one message."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from tests.system.pictures import png, png_bomb
from wa_contracts.internal.commands import MessageType
from wa_session_host.engine.port import MediaFile
from wa_session_host.engine.simulated.engine import Script, SimulatedEngines
from wa_session_host.media import conversion
from wa_session_host.media.conversion import Converter, Limits
from wa_session_host.media.media_error import MediaError

MAX_BYTES = 1_000_000


@pytest.fixture
async def converter(tmp_path: Path) -> AsyncIterator[Converter]:
    """With decoders of the simulated engine."""
    engines = SimulatedEngines(Script())
    yield Converter(engines.start_decoder, spool=tmp_path / "spool", max_bytes=MAX_BYTES)
    await engines.close()


async def refusal(converter: Converter, path: Path, kind: str = "image") -> MediaError:
    """What the conversion ends with."""
    with pytest.raises(MediaError) as raised:
        async with converter.converted(MessageType(kind), path, None):
            pass
    return raised.value


async def test_a_converted_file_is_deleted_after_its_send(
    converter: Converter, tmp_path: Path
) -> None:
    path = tmp_path / "a.bmp"
    Image.new("RGB", (40, 30), "red").save(path)
    async with converter.converted(MessageType.IMAGE, path, "a.bmp") as media:
        with Image.open(media.path) as became:
            assert (became.format, became.size) == ("JPEG", (40, 30))
        assert media.details is not None
        assert (media.mime_type, media.details.width) == ("image/jpeg", 40)
    assert not list((tmp_path / "spool").iterdir())
    assert path.exists()


async def test_what_exceeds_a_limit_ends_its_decoder_alone(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_bomb(8000, 6000))
    for limit, value, says in (
        ("PIXEL_LIMIT", 1_000_000, "8000 x 6000 pixels; at most 1,000,000 are sent"),
        ("PICTURES", Limits(memory=1_000_000, seconds=15, at_once=2), "more memory or time"),
        ("PICTURES", Limits(memory=320_000_000, seconds=0.001, at_once=2), "more memory or time"),
    ):
        with monkeypatch.context() as strict:
            strict.setattr(conversion, limit, value)
            error = await refusal(
                Converter(
                    SimulatedEngines(Script()).start_decoder,
                    spool=tmp_path / "spool",
                    max_bytes=MAX_BYTES,
                ),
                path,
            )
        assert error.code == "media_too_large"
        assert says in str(error)
    (tmp_path / "good.png").write_bytes(png())
    async with converter.converted(MessageType.IMAGE, tmp_path / "good.png", None) as media:
        assert media == MediaFile(tmp_path / "good.png", "image/png", None, media.details)


async def test_a_converted_file_has_a_largest_size(tmp_path: Path) -> None:
    engines = SimulatedEngines(Script())
    converter = Converter(engines.start_decoder, spool=tmp_path, max_bytes=2000)
    noise = Image.effect_noise((400, 400), 90)
    noise.save(tmp_path / "a.bmp")
    assert (await refusal(converter, tmp_path / "a.bmp")).code == "media_too_large"
    await engines.close()


async def test_damaged_files_end_in_sentences_at_once(converter: Converter, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(png()[:40])
    kinds = ("image", "sticker", "audio", "voice", "video")
    errors = await asyncio.gather(*(refusal(converter, tmp_path / "a", kind) for kind in kinds))
    assert {error.code for error in errors} == {"media_invalid"}
    assert not any(error.may_pass for error in errors)


async def test_without_a_decoder_the_message_waits(tmp_path: Path) -> None:
    async def cannot(_: socket.socket) -> None:
        return None

    error = await refusal(Converter(cannot, spool=tmp_path, max_bytes=1), tmp_path / "a.png")
    assert (error.code, error.may_pass) == ("media_unavailable", True)


async def test_a_decoder_that_ends_without_an_answer_is_a_refusal(tmp_path: Path) -> None:
    async def ends_at_once(_: socket.socket) -> int:
        return 1

    error = await refusal(Converter(ends_at_once, spool=tmp_path, max_bytes=1), tmp_path / "a.png")
    assert error.code == "media_too_large"
