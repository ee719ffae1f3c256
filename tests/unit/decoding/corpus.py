"""A corpus of files, each made by a real program, and what the product makes of them."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import docx
import openpyxl
import pptx

from tests.unit.decoding.samples import HEIC, PICTURE, TONE, ffmpeg, scene
from wa_session_host.decoding.outcome import Converted, Refused
from wa_session_host.decoding.pictures import image, sticker
from wa_session_host.decoding.sounds import audio, voice
from wa_session_host.decoding.videos import video

PIXELS = 50_000_000

MODES: Mapping[str, Sequence[str]] = {
    "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "GIF": ("1", "L", "P", "RGBA"),
    "WEBP": ("L", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "AVIF": ("L", "RGB", "RGBA"),
    "ICO": ("RGB", "RGBA"),
    "JPEG2000": ("L", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB"),
    "TGA": ("L", "RGB", "RGBA"),
    "PCX": ("1", "L", "P", "RGB"),
    "EPS": ("L", "RGB"),
}
"""Formats that Pillow writes, and their modes."""

_AVC = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
VIDEOS: Mapping[str, tuple[str, Sequence[str]]] = {
    "H.264 and AAC in MP4": ("mp4", (*_AVC, "-c:a", "aac")),
    "H.264 without sound in MP4": ("mp4", (*_AVC, "-an")),
    "H.264 and AAC in 3GP": ("3gp", (*_AVC, "-c:a", "aac")),
    "H.264 and AAC in QuickTime": ("mov", (*_AVC, "-c:a", "aac")),
    "H.264 and PCM in QuickTime": ("mov", (*_AVC, "-c:a", "pcm_s16le")),
    "H.264 and AAC in Matroska": ("mkv", (*_AVC, "-c:a", "aac")),
    "H.264 and AAC in FLV": ("flv", (*_AVC, "-c:a", "aac")),
    "H.264 and AAC in MPEG-TS": ("ts", (*_AVC, "-c:a", "aac")),
    "H.264 (4:4:4) in MP4": ("mp4", ("-c:v", "libx264", "-pix_fmt", "yuv444p", "-an")),
    "H.265 and AAC in MP4": ("mp4", ("-c:v", "libx265", "-pix_fmt", "yuv420p", "-c:a", "aac")),
    "MPEG-4 and MP3 in AVI": ("avi", ("-c:v", "mpeg4", "-c:a", "libmp3lame")),
    "VP8 and Vorbis in WebM": ("webm", ("-c:v", "libvpx", "-c:a", "libvorbis")),
    "VP9 and Opus in WebM": ("webm", ("-c:v", "libvpx-vp9", "-c:a", "libopus")),
    "Theora and Vorbis in OGG": ("ogv", ("-c:v", "libtheora", "-c:a", "libvorbis")),
    "MPEG-2 and MP2 in MPEG-PS": ("mpg", ("-c:v", "mpeg2video", "-c:a", "mp2")),
    "WMV and WMA in ASF": ("wmv", ("-c:v", "wmv2", "-c:a", "wmav2")),
    "an animated GIF": ("gif", ("-an",)),
}
"""Extension and arguments of the ffmpeg program."""

SOUNDS: Mapping[str, tuple[str, Sequence[str]]] = {
    "MP3": ("mp3", ()),
    "AAC in ADTS": ("aac", ()),
    "AAC in M4A": ("m4a", ()),
    "AMR": ("amr", ("-ar", "8000", "-ac", "1")),
    "Opus in OGG (mono)": ("opus", ("-c:a", "libopus", "-ac", "1")),
    "Opus in OGG (stereo)": ("opus", ("-c:a", "libopus", "-ac", "2")),
    "Vorbis in OGG": ("ogg", ("-c:a", "libvorbis")),
    "PCM in WAV": ("wav", ()),
    "FLAC": ("flac", ()),
    "PCM in AIFF": ("aiff", ()),
    "PCM in CAF": ("caf", ()),
    "Opus in WebM": ("webm", ("-c:a", "libopus")),
    "FLAC in Matroska": ("mka", ("-c:a", "flac")),
    "WMA in ASF": ("wma", ()),
}
"""Extension and arguments of the ffmpeg program."""


@dataclass(frozen=True)
class Made:
    """One file. `says` names it, `program` made it, `kind` is the type that it is sent as."""

    says: str
    program: str
    kind: str
    data: bytes


CONVERT: Mapping[str, Callable[[Path, Path], Converted]] = {
    "image": lambda path, out: image(path, out, PIXELS),
    "sticker": lambda path, out: sticker(path, out, PIXELS),
    "audio": audio,
    "voice": voice,
    "video": lambda path, out: video(path, out, PIXELS),
}


def pictures() -> Sequence[Made]:
    """Every format and mode of Pillow, and a HEIC picture of libheif."""
    made = [
        Made(f"{form} ({mode})", "Pillow", "image", _picture(form, mode))
        for form, modes in MODES.items()
        for mode in modes
    ]
    return [*made, Made("HEIC (RGB)", "libheif", "image", HEIC)]


def streams(folder: Path) -> Sequence[Made]:
    """Containers and codecs of the ffmpeg program: two seconds of a test picture and a tone."""
    made = []
    for says, (extension, arguments) in VIDEOS.items():
        path = ffmpeg(folder / f"in.{extension}", *PICTURE, *TONE, "-t", "2", *arguments)
        made.append(Made(says, "FFmpeg", "video", path.read_bytes()))
    sounds = {
        says: ffmpeg(folder / f"in.{extension}", *TONE, *arguments).read_bytes()
        for says, (extension, arguments) in SOUNDS.items()
    }
    for kind in ("audio", "voice"):
        made += [Made(says, "FFmpeg", kind, data) for says, data in sounds.items()]
    return made


def office_files() -> Mapping[str, tuple[str, bytes]]:
    """By name: the library that made the file, and its content."""
    document, book, slides = docx.Document(), openpyxl.Workbook(), pptx.Presentation()
    document.add_heading("Report", level=1)
    document.add_paragraph("Grüße aus 東京")
    book.active["A1"] = 42
    slides.slides.add_slide(slides.slide_layouts[0]).shapes.title.text = "Report"
    return {
        "report.docx": ("python-docx", _saved(document)),
        "table.xlsx": ("openpyxl", _saved(book)),
        "slides.pptx": ("python-pptx", _saved(slides)),
    }


def became(made: Made, folder: Path) -> str:
    """What phones get of a file, in words."""
    (path := folder / "in").write_bytes(made.data)
    out = folder / "out"
    out.unlink(missing_ok=True)
    try:
        answer = CONVERT[made.kind](path, out)
    except Refused as error:
        return f"refused: {error}"
    if not answer.is_new:
        return "goes out as it is"
    if answer.mime_type.startswith("image/"):
        return f"{answer.mime_type.removeprefix('image/').upper()}"
    with av.open(str(out)) as container:
        codecs = [stream.codec_context.name for stream in container.streams]
    words = {"h264": "H.264", "aac": "AAC", "opus": "Opus"}
    named = " and ".join(words.get(codec, codec) for codec in codecs)
    return f"{named} in {'OGG' if made.kind == 'voice' else 'MP4'}"


def _picture(form: str, mode: str) -> bytes:
    out = io.BytesIO()
    source = scene("RGB").convert("F") if mode == "F" else scene(mode)
    source.save(out, form)
    return out.getvalue()


def _saved(file: Any) -> bytes:
    out = io.BytesIO()
    file.save(out)
    return out.getvalue()
