"""Leads one host name (LED_HOST) to a port of 127.0.0.1 (LED_PORT), in aiohttp's resolver.

Python imports this file at start if its directory is first on PYTHONPATH; it then imports the next
`sitecustomize` of the path, which would have been imported without it.
"""

import importlib.util
import os
import socket
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from aiohttp import resolver
from aiohttp.abc import ResolveResult

_HERE = str(Path(__file__).parent)
_resolve = resolver.DefaultResolver.resolve


async def _led(self: Any, host: str, port: int = 0, *arguments: Any, **named: Any) -> Any:
    if host != os.environ["LED_HOST"]:
        return await _resolve(self, host, port, *arguments, **named)
    return [
        ResolveResult(
            hostname=host,
            host="127.0.0.1",
            port=int(os.environ["LED_PORT"]),
            family=socket.AF_INET,
            proto=0,
            flags=0,
        )
    ]


def _import_next() -> None:
    path = [entry for entry in sys.path if entry != _HERE]
    spec = PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


setattr(resolver.DefaultResolver, "resolve", _led)  # noqa: B010
_import_next()
