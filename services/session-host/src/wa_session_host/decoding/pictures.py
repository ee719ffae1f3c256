"""Pictures as WhatsApp shows them: JPEG or PNG, and stickers as WebP of 512 by 512 pixels.

Source of the formats: WhatsApp's Cloud API, supported media types.
"""

import io
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from PIL import AvifImagePlugin, Image, ImageOps, ImageSequence, TiffImagePlugin, WebPImagePlugin

from wa_session_host.decoding.outcome import (
    Converted,
    Refused,
    damaged,
    is_too_large,
    not_of_type,
    too_large_output,
    too_many_pixels,
)
from wa_session_host.decoding.signatures import OTHER_PICTURES, PICTURES, form_of

THUMBNAIL_PIXELS = 72
STICKER_PIXELS = 512
STICKER_BYTES = 100 * 1024
STICKER_FRAMES = 120
JPEG_QUALITY = 90
_ORIENTATION = 0x0112
_SHOWN = {"JPEG": {"L", "RGB"}, "PNG": {"1", "L", "LA", "P", "RGB", "RGBA"}}
"""Formats, and their modes, that phones show as they are."""
_WIDE = {"I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
"""Modes with more than eight bits."""


def preload() -> None:
    """Import the formats once, for all decoders."""
    Image.preinit()
    assert WebPImagePlugin.SUPPORTED
    assert AvifImagePlugin.SUPPORTED
    assert TiffImagePlugin.TiffImageFile.format in PICTURES


def image(path: Path, output: Path, pixels: int) -> Converted:
    """A picture that phones show: the file as it is, or as JPEG, or as PNG if it is transparent.

    Raises:
        Refused: no picture, damaged, of a format without a decoder, or too many pixels.
    """
    with _opened(path, "image", pixels) as (picture, form):
        turned = picture.getexif().get(_ORIENTATION, 1) in {5, 6, 7, 8}
        width, height = picture.size[::-1] if turned else picture.size
        mime_type, is_new = f"image/{form.lower()}", False
        if picture.mode not in _SHOWN.get(form, set()):
            picture = _upright(picture)  # noqa: PLW2901 - the converted one is shown
            (width, height), is_new = picture.size, True
            mime_type = _save(picture, output)
        thumbnail = _thumbnail(picture)
    return Converted(
        mime_type=mime_type, is_new=is_new, width=width, height=height, thumbnail=thumbnail
    )


def sticker(path: Path, output: Path, pixels: int) -> Converted:
    """A WebP of 512 by 512 pixels; an animated WebP as it is.

    Raises:
        Refused: see `image`.
    """
    with _opened(path, "sticker", pixels) as (picture, form):
        frames = getattr(picture, "n_frames", 1)
        is_animated = frames > 1 and form in {"WEBP", "GIF", "PNG"}
        fits = form == "WEBP" and (is_animated or picture.size == (STICKER_PIXELS,) * 2)
        if fits:
            picture.load()
            width, height = picture.size
        else:
            width = height = STICKER_PIXELS
            _save_sticker(picture, output, is_animated=is_animated)
    return Converted(
        mime_type="image/webp",
        is_new=not fits,
        width=width,
        height=height,
        is_animated=is_animated,
    )


@contextmanager
def _opened(path: Path, kind: str, pixels: int) -> Iterator[tuple[Image.Image, str]]:
    """The picture and its format. What goes wrong inside is a Refused."""
    form = form_of(path)
    if form in OTHER_PICTURES:
        message = f"WhatsApp does not show {form} pictures: send a JPEG or PNG, or a document."
        raise Refused("media_invalid", message)
    if form not in PICTURES:
        raise not_of_type(kind, form)
    Image.MAX_IMAGE_PIXELS = None  # the check below is stricter, with our own sentence
    if form == "HEIC":
        import pi_heif  # noqa: PLC0415 - few pictures need it

        pi_heif.register_heif_opener(thumbnails=False)
    try:
        with Image.open(path, formats=["HEIF" if form == "HEIC" else form]) as picture:
            width, height = picture.size
            if width * height > pixels:
                raise too_many_pixels(kind, width, height, pixels)
            yield picture, form
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError, IndexError) as error:
        raise too_large_output(kind) if is_too_large(error) else damaged(kind, form) from error


def _upright(picture: Image.Image) -> Image.Image:
    """The first frame, turned as its EXIF says, with eight bits a channel: RGB or RGBA."""
    picture.load()
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in _WIDE:
        low, high = cast("tuple[float, float]", picture.getextrema())
        scale = 255 / (65535 if picture.mode != "F" and low >= 0 else high - low or 1)
        offset = -low * scale if picture.mode == "F" or low < 0 else 0
        picture = picture.point(lambda value: value * scale + offset).convert("L")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _save(picture: Image.Image, output: Path) -> str:
    """Save the picture; return its MIME type."""
    kept: dict[str, Any] = {"icc_profile": picture.info.get("icc_profile")}
    if picture.mode == "RGBA":
        picture.save(output, "PNG", **kept)
        return "image/png"
    picture.save(output, "JPEG", quality=JPEG_QUALITY, **kept)
    return "image/jpeg"


def _thumbnail(picture: Image.Image) -> str:
    """A small upright JPEG, on white ground where the picture is transparent."""
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return thumbnail_of(_upright(picture))


def thumbnail_of(picture: Image.Image) -> str:
    """Base64 of a JPEG of the picture, at most 72 pixels wide and high."""
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    if picture.mode == "RGBA":
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        picture = ground
    out = io.BytesIO()
    picture.convert("RGB").save(out, "JPEG", quality=60)
    return b64encode(out.getvalue()).decode()


def _save_sticker(picture: Image.Image, output: Path, *, is_animated: bool) -> None:
    """Save as WebP: as good as fits in the size that WhatsApp's stickers have."""
    if is_animated:
        frames = [
            (_squared(_upright(frame)), int(frame.info.get("duration") or 100))
            for frame, _ in zip(
                ImageSequence.Iterator(picture), range(STICKER_FRAMES), strict=False
            )
        ]
        first, *others = [frame for frame, _ in frames]
        durations = [duration for _, duration in frames]
        first.save(
            output,
            "WEBP",
            save_all=True,
            append_images=others,
            duration=durations,
            loop=0,
            quality=60,
        )
        return
    square = _squared(_upright(picture))
    for quality in (90, 75, 50, 25):
        square.save(output, "WEBP", quality=quality)
        if output.stat().st_size <= STICKER_BYTES:
            return


def _squared(picture: Image.Image) -> Image.Image:
    """The picture in the middle of a transparent square."""
    side = (STICKER_PIXELS, STICKER_PIXELS)
    return ImageOps.pad(picture.convert("RGBA"), side, color=(0, 0, 0, 0))
