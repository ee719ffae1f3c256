"""Pictures: what phones show stays as it is, the rest becomes JPEG, PNG or a sticker."""

import io
from base64 import b64decode
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.decoding.samples import HEIC, opened, scene
from wa_session_host.decoding.outcome import Converted, Refused
from wa_session_host.decoding.pictures import STICKER_BYTES, image, sticker

PIXELS = 50_000_000


def pixel(picture: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """A pixel's channels."""
    found = picture.getpixel((x, y))
    assert isinstance(found, tuple)
    return found


def converted(path: Path, form: str, mode: str, tmp_path: Path) -> tuple[Converted, Image.Image]:
    """A picture of this format and mode, converted, and what it became."""
    scene(mode).save(path, form)
    answer = image(path, tmp_path / "out", PIXELS)
    became = opened(tmp_path / "out" if answer.is_new else path)
    return answer, became


@pytest.mark.parametrize(
    ("form", "mode"),
    [("JPEG", "RGB"), ("JPEG", "L"), *(("PNG", m) for m in ("1", "L", "LA", "P", "RGB", "RGBA"))],
)
def test_what_phones_show_goes_out_as_it_is(tmp_path: Path, form: str, mode: str) -> None:
    answer, _ = converted(tmp_path / "in", form, mode, tmp_path)
    assert not answer.is_new
    assert answer.mime_type == f"image/{form.lower()}"
    assert (answer.width, answer.height) == (400, 300)


@pytest.mark.parametrize(
    ("form", "mode", "becomes"),
    [
        *(("TIFF", m, "JPEG") for m in ("1", "L", "RGB", "CMYK", "YCbCr", "I;16")),
        *(("TIFF", m, "PNG") for m in ("LA", "RGBA")),
        *(("BMP", m, "JPEG") for m in ("1", "L", "P", "RGB")),
        *(("GIF", m, "JPEG") for m in ("L", "P")),
        *(("WEBP", m, "JPEG") for m in ("L", "RGB")),
        *(("AVIF", m, "JPEG") for m in ("L", "RGB")),
        *((form, "RGBA", "PNG") for form in ("GIF", "WEBP", "AVIF")),
        ("JPEG", "CMYK", "JPEG"),
        ("PNG", "I;16", "JPEG"),
    ],
)
def test_the_rest_becomes_jpeg_or_png(tmp_path: Path, form: str, mode: str, becomes: str) -> None:
    answer, became = converted(tmp_path / "in", form, mode, tmp_path)
    assert answer.is_new
    assert (became.format, answer.mime_type) == (becomes, f"image/{becomes.lower()}")
    assert (answer.width, answer.height) == became.size == (400, 300)
    shown = became.convert("RGBA")
    assert pixel(shown, 10, 10)[3] == (0 if becomes == "PNG" else 255)
    assert pixel(shown, 390, 10)[0] > 200


def test_heic_becomes_jpeg(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(HEIC)
    answer = image(tmp_path / "in", tmp_path / "out", PIXELS)
    became = opened(tmp_path / "out").convert("RGB")
    assert (answer.width, answer.height) == became.size == (64, 48)
    red, _, blue = pixel(became, 10, 10)
    assert blue > 200 > red
    assert pixel(became, 60, 40)[0] > 200


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "TIFF", "WEBP"])
def test_every_orientation_is_shown_upright(tmp_path: Path, form: str, orientation: int) -> None:
    """The scene is stored so that its orientation turns it back."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    stored = scene() if undo is None else scene().transpose(Image.Transpose(undo))
    stored.save(tmp_path / "in", form, exif=exif)
    answer = image(tmp_path / "in", tmp_path / "out", PIXELS)
    assert (answer.width, answer.height) == (400, 300)
    small = Image.open(io.BytesIO(b64decode(answer.thumbnail or "")))
    assert small.size == (72, 54)
    assert pixel(small, 5, 27)[0] < 60
    assert pixel(small, 66, 27)[0] > 200
    if answer.is_new:
        became = opened(tmp_path / "out")
        assert became.size == (400, 300)
        assert became.getexif().get(0x0112, 1) == 1


def test_transparency_has_a_white_ground_in_the_thumbnail(tmp_path: Path) -> None:
    for mode in ("RGBA", "LA"):
        answer, _ = converted(tmp_path / "in", "PNG", mode, tmp_path)
        small = Image.open(io.BytesIO(b64decode(answer.thumbnail or "")))
        assert pixel(small, 5, 5) == (255, 255, 255)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "AVIF"])
def test_a_sticker_is_a_webp_of_512_pixels(tmp_path: Path, form: str) -> None:
    scene().save(tmp_path / "in", form)
    answer = sticker(tmp_path / "in", tmp_path / "out", PIXELS)
    became = opened(tmp_path / "out")
    assert (became.format, became.size) == ("WEBP", (512, 512))
    assert (answer.width, answer.height, answer.mime_type) == (512, 512, "image/webp")
    assert pixel(became.convert("RGBA"), 256, 5)[3] == 0, "the square is filled transparently"
    assert (tmp_path / "out").stat().st_size <= STICKER_BYTES


def test_stickers_that_fit_go_out_as_they_are(tmp_path: Path) -> None:
    still = scene().resize((512, 512))
    still.save(tmp_path / "still", "WEBP")
    assert not sticker(tmp_path / "still", tmp_path / "out", PIXELS).is_new
    moving = scene().resize((300, 300))
    moving.save(tmp_path / "moving", "WEBP", save_all=True, append_images=[moving.rotate(90)])
    answer = sticker(tmp_path / "moving", tmp_path / "out", PIXELS)
    assert (answer.is_new, answer.is_animated, answer.width) == (False, True, 300)


def test_an_animated_gif_becomes_an_animated_sticker(tmp_path: Path) -> None:
    moving = scene("P")
    moving.save(tmp_path / "in", "GIF", save_all=True, append_images=[scene("P").rotate(180)])
    answer = sticker(tmp_path / "in", tmp_path / "out", PIXELS)
    became = opened(tmp_path / "out")
    assert (answer.is_animated, getattr(became, "n_frames", 1), became.size) == (
        True,
        2,
        (512, 512),
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "AVIF", "BMP", "HEIC"])
@pytest.mark.parametrize("convert", [image, sticker])
def test_a_damaged_picture_is_refused(tmp_path: Path, form: str, convert: object) -> None:
    path = tmp_path / "in"
    if form == "HEIC":
        path.write_bytes(HEIC)
    else:
        scene().save(path, form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert callable(convert)
    with pytest.raises(Refused, match=f"damaged|{form}") as raised:
        convert(path, tmp_path / "out", PIXELS)
    assert raised.value.code == "media_invalid"
    assert form in str(raised.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "does not show SVG pictures"),
        (b"<?xml version='1.0'?><svg/>", "does not show SVG pictures"),
        (b"\0\0\0\x0cJXL \r\n", "does not show JPEG XL pictures"),
        (b"8BPS\0\1", "does not show PSD pictures"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "does not show EPS pictures"),
        (b"%PDF-1.7", "its content is application/pdf"),
        (b"plain words", "its content is text/plain"),
        (b"<!doctype html><p>Not found", "its content is text/html"),
        (b"OggS", "its content is audio/ogg"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "its content is video/mp4"),
        (b"\0\1\2", "its content is application/octet-stream"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "in").write_bytes(data)
    with pytest.raises(Refused, match=says) as raised:
        image(tmp_path / "in", tmp_path / "out", PIXELS)
    assert raised.value.code == "media_invalid"


def test_too_many_pixels_are_refused(tmp_path: Path) -> None:
    scene().save(tmp_path / "in", "PNG")
    with pytest.raises(Refused, match="400 x 300 pixels; at most 1,000 are sent") as raised:
        image(tmp_path / "in", tmp_path / "out", 1000)
    assert raised.value.code == "media_too_large"
