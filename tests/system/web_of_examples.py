"""example.com as the published examples use it, on loopback: the snippets' text stays untouched.

Only the host's processes are led there: `sitecustomize` in `led_hosts/` tells Python's HTTP client
where the name lies; TLS, the address check and everything else stay the product's own.
"""

import io
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from PIL import Image

from tests.unit.decoding.samples import TONE, ffmpeg
from tests.whatsapp import StandIn

HOST = "example.com"
PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"
_LED_HOSTS = Path(__file__).with_name("led_hosts")


def photo() -> bytes:
    """A small JPEG picture."""
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "seagreen").save(out, "JPEG")
    return out.getvalue()


def sticker() -> bytes:
    """A small transparent PNG picture."""
    out = io.BytesIO()
    Image.new("RGBA", (64, 48), (20, 120, 80, 128)).save(out, "PNG")
    return out.getvalue()


def sound(name: str) -> bytes:
    """Two seconds of a tone, of the format that the name tells."""
    with tempfile.TemporaryDirectory() as folder:
        return ffmpeg(Path(folder) / name, *TONE).read_bytes()


@asynccontextmanager
async def example_com(whatsapp: StandIn, video: bytes) -> AsyncIterator[Mapping[str, str]]:
    """Serve example.com; what to add to the environment of a session-host that is to reach it."""
    files = {
        "photo.jpg": photo(),
        "file.pdf": PDF,
        "video.mp4": video,
        "sticker.png": sticker(),
        **{name: sound(name) for name in ("song.mp3", "note.wav")},
    }

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=files[request.match_info["name"]])

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=whatsapp.certify(HOST)).start()
        engine = whatsapp.engine_environment()
        yield {
            **engine,
            "PYTHONPATH": f"{_LED_HOSTS}:{engine['PYTHONPATH']}",
            "LED_HOST": HOST,
            "LED_PORT": str(runner.addresses[0][1]),
        }
    finally:
        await runner.cleanup()
