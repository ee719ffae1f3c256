"""Finds RabbitMQ and Erlang on this machine, or installs them."""

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.servers import debian, suite


class BrokerUnavailable(RuntimeError):
    """RabbitMQ cannot run here. The message says what to do."""


@dataclass(frozen=True)
class Installation:
    """RabbitMQ's own scripts (Debian's wrappers require a certain user) and Erlang's tools."""

    scripts: Path
    erlang_bin: Path

    @property
    def server(self) -> Path:
        return self.scripts / "rabbitmq-server"

    @property
    def control(self) -> Path:
        return self.scripts / "rabbitmqctl"

    @property
    def epmd(self) -> Path:
        return self.erlang_bin / "epmd"

    @property
    def version(self) -> str:
        """The version from the folder's name, for example `3.10.8`; `?` if unknown."""
        places = (self.server.resolve().parent.parent, *_unpacked(self.scripts.parent / "system"))
        found = re.search(
            r"rabbitmq_server-([0-9.]+)|/([0-9]+\.[0-9.]+)(/|$)", " ".join(map(str, places))
        )
        return next((part for part in found.groups() if part), "?") if found else "?"


def _unpacked(system: Path) -> Iterable[Path]:
    return system.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*")


def find() -> Installation | None:
    """An existing installation, or None. RABBITMQ_SUITE names the suite of another one."""
    if name := os.environ.get("RABBITMQ_SUITE"):
        programs = suite.found(_cache_of(name))
        return Installation(programs, programs) if programs else None
    return _debian(Path("/")) or _debian(_cache()) or _homebrew()


def find_or_install() -> Installation:
    """Find or install RabbitMQ. Raises BrokerUnavailable.

    Safe for several processes at once: one fetches, the others wait.
    """
    if find() is None and not debian.has_apt():
        raise BrokerUnavailable(
            "There is no RabbitMQ here: install it (for example `brew install rabbitmq`), start a "
            "container engine, or name your own broker in AMQP_URL."
        )
    found = debian.find_or_fetch(find, _fetch, _cache())
    if found is None:
        raise BrokerUnavailable("RabbitMQ was installed, but its scripts are not where expected.")
    return found


def _fetch() -> None:
    name = os.environ.get("RABBITMQ_SUITE")
    print(
        f"Getting RabbitMQ from Debian's packages{f' of {name}' if name else ''} (once) …",
        flush=True,
    )
    try:
        if name:
            suite.make(name, _cache_of(name))
        elif debian.is_root():
            debian.install("rabbitmq-server")
        else:
            debian.unpack("rabbitmq-server", _cache())
            _correct_root(_cache())
    except debian.PackageUnavailable as error:
        raise BrokerUnavailable(
            f"RabbitMQ could not be had from Debian's packages ({error}). Install rabbitmq-server "
            "yourself, start a container engine, or name your own broker in AMQP_URL."
        ) from error


def _cache() -> Path:
    return debian.cache("rabbitmq")


def _cache_of(name: str) -> Path:
    return debian.cache(f"rabbitmq-{name}")


def _debian(root: Path) -> Installation | None:
    candidate = Installation(root / "usr/lib/rabbitmq/bin", root / "usr/lib/erlang/bin")
    return candidate if candidate.server.exists() and candidate.epmd.exists() else None


def _homebrew() -> Installation | None:
    server, epmd = shutil.which("rabbitmq-server"), shutil.which("epmd")
    if server is None or epmd is None or Path(server).parent == Path("/usr/sbin"):
        return None
    return Installation(Path(server).parent, Path(epmd).parent)


def _correct_root(root: Path) -> None:
    """Set the folder in Erlang's start scripts, which is absolute."""
    erlang = root / "usr/lib/erlang"
    scripts = [erlang / "bin/erl", erlang / "bin/start", *erlang.glob("erts-*/bin/erl")]
    for script in scripts:
        if script.exists():
            text = script.read_text()
            script.write_text(text.replace("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={erlang}"))
            script.chmod(0o755)
