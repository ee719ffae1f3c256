"""A table of what this machine has and lacks, for `make doctor`."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import psutil

from deploy.local import tools
from deploy.local.configuration import Configuration
from deploy.servers import containers, debian, erlang, pgbouncer, postgres
from deploy.servers.ports import is_free
from wa_session_host.engine.neonize.client_version import engine_version, shipped_library

_GB_DISK, _GB_MEMORY = 1, 0.7
LEAST_DISK_BYTES = int(_GB_DISK * 1e9)
LEAST_MEMORY_BYTES = int(_GB_MEMORY * 1e9)
"""Needs of an empty stack: 0.6 GB of memory for servers and services (docs/operations.md)."""

_Finding = tuple[bool | None, str, str]


def examine(settings: Configuration) -> int:
    """Print one line per finding; return 0 if `make run` can work, else 1."""
    engine = containers.engine_answers()
    findings: list[_Finding] = [
        (True, "Python", platform.python_version()),
        (True, "Container engine", "answers" if engine else "none: embedded servers are used"),
        _postgres(settings, engine=engine),
        _rabbitmq(settings, engine=engine),
        _pool(settings),
        libmagic(),
        _engine(settings),
        ffmpeg(),
        _port(settings),
        _disk(settings),
        _memory(),
    ]
    findings += [(None, name, found) for name, found in tools.found().items()]
    for fine, name, fact in findings:
        mark = {True: "ok", False: "MISSING", None: "tests"}[fine]
        print(f"  {mark:<8} {name:<17} {fact}")
    missing = [name for fine, name, _ in findings if fine is False]
    print(f"\nSee to {', '.join(missing)} first." if missing else "\n`make run` can work here.")
    return 1 if missing else 0


def _postgres(settings: Configuration, *, engine: bool) -> _Finding:
    if settings.external_databases is not None:
        return True, "Postgres", "named in the environment"
    if engine:
        return True, "Postgres", f"container {containers.POSTGRES_IMAGE}"
    try:
        postgres.can_run()
    except (postgres.PostgresUnavailable, OSError, subprocess.SubprocessError) as error:
        return False, "Postgres", str(error)
    return True, "Postgres", f"embedded {postgres.version()}"


def _pool(settings: Configuration) -> _Finding:
    """Never missing: without a pool the stack takes more connections."""
    if settings.external_databases is not None:
        return True, "PgBouncer", "yours to start (docs/operations.md, sizing)"
    if (program := pgbouncer.find()) is not None:
        return True, "PgBouncer", str(program)
    if debian.has_apt():
        return True, "PgBouncer", "comes from Debian's packages at the first start"
    return True, "PgBouncer", "none: at most about 150 sessions; install it for more"


def _rabbitmq(settings: Configuration, *, engine: bool) -> _Finding:
    if settings.external_broker is not None:
        return True, "RabbitMQ", "named in the environment"
    if engine:
        return True, "RabbitMQ", f"container {containers.RABBITMQ_IMAGE}"
    installation = erlang.find()
    if installation is not None:
        return True, "RabbitMQ", f"{installation.version} in {installation.scripts}"
    if debian.has_apt():
        return True, "RabbitMQ", "comes from Debian's packages at the first start"
    return False, "RabbitMQ", "install it, start a container engine, or name one in AMQP_URL"


def libmagic() -> _Finding:
    """In a separate interpreter, since the library stays loaded."""
    program = (
        "import pylibmagic, magic; "
        "print(magic.from_buffer(b'%PDF-1.7 ', mime=True), importlib.metadata.version('pylibmagic'))"
    )
    told = subprocess.run(
        [sys.executable, "-c", f"import importlib.metadata; {program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode != 0 or not told.stdout.startswith("application/pdf"):
        return False, "libmagic", (told.stderr or told.stdout).strip()[-200:]
    return True, "libmagic", f"pylibmagic {told.stdout.split()[1]}"


def _engine(settings: Configuration) -> _Finding:
    """The real engine's version, and the WhatsApp client version that it states."""
    if settings.engine == "simulated":
        return True, "Engine", "simulated"
    try:
        version = engine_version(shipped_library())
    except (FileNotFoundError, PackageNotFoundError) as error:
        return False, "Engine", str(error)
    fact = f"{version.engine}, WhatsApp client {version.client}"
    wanted = settings.environment.get("WHATSAPP_CLIENT_VERSION")
    return (
        True,
        "Engine",
        f"{fact}, replaced by WHATSAPP_CLIENT_VERSION={wanted}" if wanted else fact,
    )


def ffmpeg() -> _Finding:
    """FFmpeg's libraries, which PyAV's wheel contains, with the codecs that WhatsApp's phones play.

    In a separate interpreter, since the libraries stay loaded.
    """
    program = (
        "import av, pi_heif; "
        "[av.codec.Codec(name, 'w') for name in ('libx264', 'aac', 'libopus')]; "
        "print(av.__version__, '.'.join(map(str, av.library_versions['libavcodec'])))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if told.returncode != 0:
        why = (told.stderr or told.stdout).strip()[-160:]
        return False, "FFmpeg", f"audio, voice and video cannot be sent: {why}"
    wrapper, codecs = told.stdout.split()
    return True, "FFmpeg", f"PyAV {wrapper} with libavcodec {codecs}"


def _disk(settings: Configuration) -> _Finding:
    """Check the data directory, or its nearest existing parent."""
    there = next(p for p in (settings.data_dir, *settings.data_dir.parents) if p.exists())
    if not os.access(there, os.W_OK):
        return (
            False,
            "Data directory",
            f"{there} cannot be written to: choose another with DATA_DIR",
        )
    free = shutil.disk_usage(there).free
    enough = free >= LEAST_DISK_BYTES
    fact = f"{settings.data_dir}, {free / 1e9:.1f} GB free"
    return enough, "Data directory", fact if enough else f"{fact}: {_GB_DISK} GB are needed"


def _memory() -> _Finding:
    free = psutil.virtual_memory().available
    enough = free >= LEAST_MEMORY_BYTES
    fact = f"{free / 1e9:.1f} GB available"
    return enough, "Memory", fact if enough else f"{fact}: {_GB_MEMORY} GB are needed"


def _port(settings: Configuration) -> _Finding:
    free = is_free(settings.port) and is_free(settings.port, "::1")
    return free, f"Port {settings.port}", "free" if free else "in use: choose another with PORT"
