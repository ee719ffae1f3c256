"""Files of every kind, made by real programs, and damaged ones."""

import io
import subprocess
from base64 import b64decode
from pathlib import Path

import imageio_ffmpeg
from PIL import Image

# 64 x 48, red with a blue corner at the top left, written by libheif's encoder.
HEIC = b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAb5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB4gABAAAAAAAAADkAAgAAAAACGwABAAAAAAAAACQAAAA4aWlu"
    "ZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA"
    "/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    "AAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkA"
    "AAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAA"
    "AAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAABppcmVmAAAAAAAA"
    "AA5jZHNjAAIAAQABAAAAZW1kYXQAAAA1KAGvGYAJZnyab/7aR936g9Av+TgYFNsfk3eWgzWXPfTSJ0IdACv8zLg9"
    "ykLYmdwA04mdObAAAAAGRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA="
)
PICTURE = ("-f", "lavfi", "-i", "testsrc=s=320x240:d=2")
TONE = ("-f", "lavfi", "-i", "sine=duration=2:sample_rate=44100")


def ffmpeg(path: Path, *arguments: str) -> Path:
    """A file made by the ffmpeg program."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-loglevel", "error", "-y", *arguments, str(path)], check=True)
    return path


def opened(path: Path) -> Image.Image:
    """A picture, without an open file."""
    return Image.open(io.BytesIO(path.read_bytes()))


def scene(mode: str = "RGB") -> Image.Image:
    """400 x 300: the left half dark, the right half bright; transparent where the mode can be."""
    picture = Image.new(
        "RGBA", (400, 300), (10, 20, 30, 0 if mode in {"LA", "RGBA", "PA"} else 255)
    )
    picture.paste((240, 230, 220, 255), (200, 0, 400, 300))
    if mode == "I;16":
        return picture.convert("I").point(lambda value: value * 257).convert("I;16")
    if mode == "CMYK":
        return picture.convert("RGB").convert("CMYK")
    return picture.convert(mode)
