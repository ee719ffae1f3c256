"""Makes the engine of this process trust the stand-in's root key, and nothing else.

Python imports this file at start if its directory is on PYTHONPATH. whatsmeow checks the server's
Noise certificate against a 32-byte key which lies once in a writable mapping of the loaded
library; that copy is overwritten with the key in PYTHON_WHATSAPP_STAND_IN_ROOT_KEY. The hook runs after
every execution of `neonize._binder`, reloads included; a run that did not load the library (with
`SPHINX=1`) changes nothing. Linux only.
"""

import ctypes
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_BINDER = "neonize._binder"
_LIBRARY_PREFIX = "neonize-"
_WHATSAPP_ROOT_KEY = bytes.fromhex(
    "142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b"
)


class RootKeyNotFound(ImportError):
    """The library is loaded, but its root key is not where it was expected."""


def _writable_library_mappings() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, permissions, *others = line.split(maxsplit=5)
        is_library = Path(others[-1]).name.startswith(_LIBRARY_PREFIX)
        if is_library and permissions.startswith("rw"):
            start, end = (int(bound, 16) for bound in span.split("-"))
            yield start, end


def _replace_root_key(key: bytes) -> None:
    found: list[int] = []
    loaded = False
    for start, end in _writable_library_mappings():
        loaded = True
        content = ctypes.string_at(start, end - start)
        at = content.find(_WHATSAPP_ROOT_KEY)
        while at >= 0:
            found.append(start + at)
            at = content.find(_WHATSAPP_ROOT_KEY, at + 1)
        if key in content:
            return
    if loaded and len(found) != 1:
        raise RootKeyNotFound(f"WhatsApp's root key was found {len(found)} times, not once")
    for address in found:
        ctypes.memmove(address, key, len(key))


class _PatchingLoader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _replace_root_key(bytes.fromhex(os.environ["PYTHON_WHATSAPP_STAND_IN_ROOT_KEY"]))


class _BinderFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _BINDER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _PatchingLoader(fullname, spec.origin)
        return spec


if os.environ.get("PYTHON_WHATSAPP_STAND_IN_ROOT_KEY"):
    sys.meta_path.insert(0, _BinderFinder())
