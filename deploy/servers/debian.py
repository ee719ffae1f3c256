"""Debian packages: installed as root, otherwise unpacked into a cache folder."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_SERVICES = "#!/bin/sh\nexit 101\n"
_DPKG_STATUS = Path("/var/lib/dpkg/status")
_LISTS = Path("/var/lib/apt/lists")

Found = TypeVar("Found")


class PackageUnavailable(RuntimeError):
    """Debian's tools failed. The message quotes them."""


def has_apt() -> bool:
    return shutil.which("apt-get") is not None and shutil.which("dpkg") is not None


def is_root() -> bool:
    return os.geteuid() == 0


def cache(name: str) -> Path:
    """The folder of this user's into which that program is unpacked."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~").expanduser() / ".cache")
    return Path(home) / "whatsapp-gateway" / name


def find_or_fetch(
    find: Callable[[], Found | None], fetch: Callable[[], None], folder: Path
) -> Found | None:
    """What `find` finds, after a `fetch` into the folder if it finds nothing.

    Safe for several processes at once: one fetches, the others wait. None: not found even then.
    """
    if (found := find()) is not None:
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (found := find()) is None:
            fetch()
            found = find()
    return found


def install(*packages: str) -> None:
    """Install as root, without starting any service.

    Raises PackageUnavailable with apt's message.
    """
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    wanted = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    with _services_held():
        # Update the package lists only if the first attempt fails.
        if subprocess.run(wanted, env=env, capture_output=True, check=False).returncode == 0:
            return
        _run(["apt-get", "update", "-qq"], env)
        _run(wanted, env)


def mirror() -> str:
    """The address of the first archive that this machine installs from.

    Raises PackageUnavailable if there is none.
    """
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.strip():
        raise PackageUnavailable("apt knows no archive: add one to its sources")
    return done.stdout.split()[0]


def unpack(package: str, target: Path) -> None:
    """Download a package with its missing dependencies and unpack it into `target`.

    Needs no privileges, registers nothing and runs no package script.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch_name:
        scratch = Path(scratch_name)
        lists, cache, root = scratch / "lists", scratch / "cache", scratch / "root"
        for folder in (lists / "partial", cache / "archives" / "partial", root):
            folder.mkdir(parents=True)
        options = [f"Dir::Cache={cache}", f"Dir::State::status={_DPKG_STATUS}"]
        options += ["Debug::NoLocking=1", "APT::Sandbox::User="]
        download = ["install", "-y", "--no-install-recommends", "--download-only", package]
        try:
            _apt([*options, f"Dir::State::lists={_LISTS}"], download)
        except PackageUnavailable:
            own_lists = [*options, f"Dir::State::lists={lists}"]
            _apt(own_lists, ["update"])
            _apt(own_lists, download)
        archives = sorted((cache / "archives").glob("*.deb"))
        if not archives:
            raise PackageUnavailable(f"apt-get delivered nothing for {package}")
        for archive in archives:
            _run(["dpkg", "-x", str(archive), str(root)], os.environ)
        shutil.rmtree(target, ignore_errors=True)
        root.rename(target)


def _apt(options: Sequence[str], command: Sequence[str]) -> None:
    settings = [part for option in options for part in ("-o", option)]
    _run(
        ["apt-get", *settings, "-qq", *command], os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    )


def _run(argv: Sequence[str], env: "os._Environ[str] | dict[str, str]") -> None:
    done = subprocess.run(argv, env=env, capture_output=True, check=False)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise PackageUnavailable(f"{argv[0]} failed: {words[-600:]}")


@contextlib.contextmanager
def _services_held() -> Iterator[None]:
    """Make policy-rc.d return 101, so that Debian starts no service."""
    before = _POLICY.read_bytes() if _POLICY.exists() else None
    mode = _POLICY.stat().st_mode if before is not None else 0
    _POLICY.write_text(_NO_SERVICES)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            _POLICY.unlink(missing_ok=True)
        else:
            _POLICY.write_bytes(before)
            _POLICY.chmod(mode)
