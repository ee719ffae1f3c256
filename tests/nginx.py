"""Debian's nginx in front of an api, with the lines of the documentation."""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from deploy.servers import debian
from deploy.servers.children import Child, Orders
from deploy.servers.ports import free_port
from tests.deadlines import eventually

DOCUMENT = Path(__file__).parents[1] / "docs" / "reverse-proxy.md"
_PACKAGE = "nginx-light"
_CONFIGURATION = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {documented}
    }}
}}
"""


def documented_lines(api_port: int) -> str:
    """What the documentation says, for an api on this port."""
    found = re.search(r"```nginx\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    assert "127.0.0.1:3000" in found[1]
    return found[1].replace("127.0.0.1:3000", f"127.0.0.1:{api_port}")


@asynccontextmanager
async def running_nginx(directory: Path, api_port: int) -> AsyncIterator[str]:
    """The address of an nginx, during the block."""
    program = await asyncio.to_thread(_find_or_install)
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, port=port, documented=documented_lines(api_port))
    )
    arguments = [str(program), "-c", str(configuration), "-p", str(directory)]
    orders = Orders(
        name="nginx",
        argv=[*arguments, "-g", "user root;"] if os.geteuid() == 0 else arguments,
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
        log=directory / "nginx.log",
        on_stop=signal.SIGTERM,
        on_orphaned=signal.SIGTERM,
    )
    child = Child.start(orders)
    address = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        assert child.alive, (directory / "nginx.log").read_text()
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{address}/wa/livez")).is_success
            except httpx.TransportError:
                return False

    try:
        await eventually(answers, what="nginx answers")
        yield address
    finally:
        await child.stop(within=5)


def _find_or_install() -> Path:
    if (found := _find()) is not None:
        return found
    if debian.is_root():
        debian.install(_PACKAGE)
    else:
        debian.unpack(_PACKAGE, _cache())
    found = _find()
    assert found is not None, "nginx was installed, but is not where it was expected"
    return found


def _find() -> Path | None:
    on_path = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    unpacked = _cache() / "usr/sbin/nginx"
    return Path(on_path) if on_path else unpacked if unpacked.exists() else None


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~").expanduser() / ".cache")
    return Path(home) / "whatsapp-gateway" / "nginx"
