"""s3rver, an S3 server in Node, with one bucket; it can go away and come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.servers.ports import free_port
from tests.deadlines import eventually
from tests.npm import installed

BUCKET = "wa-media"


class S3Server:
    """One server process; its files outlive it."""

    def __init__(self, folder: Path) -> None:
        self._program = installed(Path(__file__).parent) / "node_modules/.bin/s3rver"
        self._folder = folder
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "S3RVER",
            "AWS_SECRET_ACCESS_KEY": "S3RVER",
        }

    async def start(self) -> None:
        """Start it; return when it answers."""
        self._process = await asyncio.create_subprocess_exec(
            *(str(self._program), "--directory", str(self._folder)),
            *("--port", str(self._port), "--address", "127.0.0.1", "--silent"),
            *("--configure-bucket", BUCKET),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

        async def answers() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                return False
            writer.close()
            return True

        await eventually(answers, what="the S3 server answers")

    async def stop(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def files(self) -> list[str]:
        """The keys of the bucket's files."""
        bucket = self._folder / BUCKET
        suffix = "._S3rver_object"
        found = bucket.rglob(f"*{suffix}")
        return sorted(str(p.relative_to(bucket)).removesuffix(suffix) for p in found)


@asynccontextmanager
async def s3_server(folder: Path) -> AsyncIterator[S3Server]:
    """A running server during the block."""
    server = S3Server(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
