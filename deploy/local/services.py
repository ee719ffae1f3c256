"""The project's processes: commands, environment, and order of shutdown."""

import base64
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values

from deploy.local.configuration import Configuration, Misconfigured
from deploy.servers.ports import free_port

SHORTEST_KEY = 32
_GENERATED = ("ADMIN_KEY", "TOKEN_ENCRYPTION_KEY")


Owner = Literal["api", "session-host"]


@dataclass(frozen=True)
class Service:
    """One process that is kept running.

    `owner` is its service. `shows` is the URL of its metrics, if any.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    stop_within: float = 10
    owner: Owner = "api"
    shows: str = ""


@dataclass(frozen=True)
class Program:
    """Migrations to complete first, then services to start in this order.

    Services are stopped in the reverse order.
    """

    migrations: Sequence[Service]
    services: Sequence[Service]


def python_module(*arguments: str) -> list[str]:
    """The command that runs one of our packages with this interpreter."""
    return [sys.executable, "-m", *arguments]


def program(configuration: Configuration, environment: Mapping[str, str]) -> Program:
    """The real services, each with its own ports for metrics and health."""

    def port(name: str, preferred: int) -> str:
        return configuration.environment.get(name) or str(free_port(preferred))

    host = {"HEALTH_PORT": port("HEALTH_PORT", 9466)}
    projector_port = port("PROJECTOR_METRICS_PORT", 9465)
    projector = {"METRICS_PORT": projector_port, "PROJECTOR_METRICS_PORT": projector_port}
    webhooks_port = port("WEBHOOKS_METRICS_PORT", 9467)
    webhooks = {"METRICS_PORT": webhooks_port, "WEBHOOKS_METRICS_PORT": webhooks_port}
    api = {"PORT": str(configuration.port), "METRICS_PORT": port("METRICS_PORT", 9464)}

    def service(
        name: str,
        command: Sequence[str],
        own: Mapping[str, str],
        within: float = 10,
        metrics: str = "",
    ) -> Service:
        owner: Owner = "session-host" if command[0] == "wa_session_host" else "api"
        shows = f"http://127.0.0.1:{own[metrics]}/metrics" if metrics else ""
        return Service(name, python_module(*command), {**environment, **own}, within, owner, shows)

    return Program(
        migrations=(
            service("session-host migrate", ("wa_session_host", "migrate"), host),
            service("api migrate", ("wa_api", "migrate"), api),
        ),
        services=(
            service("session-host", ("wa_session_host", "run"), host, 15, "HEALTH_PORT"),
            service("projector", ("wa_api", "project"), projector, 10, "PROJECTOR_METRICS_PORT"),
            service("webhooks", ("wa_api", "deliver"), webhooks, 10, "WEBHOOKS_METRICS_PORT"),
            service("api", ("wa_api", "serve"), api, 10, "METRICS_PORT"),
        ),
    )


def inherited(configuration: Configuration) -> dict[str, str]:
    """The environment of every service, without URLs and keys."""
    return {
        **configuration.environment,
        "DATA_DIR": str(configuration.data_dir),
        "ENGINE": configuration.engine,
        "LOG_FORMAT": configuration.log_format,
        "PYTHONUNBUFFERED": "1",
    }


@dataclass(frozen=True)
class Keys:
    """The two secrets. If `admin_generated`, the login link is shown."""

    admin: str = field(repr=False)
    token_encryption: str = field(repr=False)
    admin_generated: bool

    def environment(self) -> dict[str, str]:
        return {"ADMIN_KEY": self.admin, "TOKEN_ENCRYPTION_KEY": self.token_encryption}


def new_key() -> str:
    """32 random bytes in URL-safe base64, padded: 44 characters."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def new_admin_key() -> str:
    """A key that needs no quoting in a URL."""
    return secrets.token_urlsafe(32)


def keys(configuration: Configuration) -> Keys:
    """The keys that are set, else those of the last run, else new ones stored in `keys.env`.

    Raises Misconfigured if a set key is too short.
    """
    path = configuration.data_dir / "keys.env"
    kept = {name: value for name, value in dotenv_values(path).items() if value}
    told = {n: v for n in _GENERATED if (v := configuration.environment.get(n))}
    for name, value in told.items():
        if len(value) < SHORTEST_KEY:
            raise Misconfigured(
                f"{name} has fewer than {SHORTEST_KEY} characters and could be guessed. Make a new "
                "one, for example with: openssl rand -hex 32"
            )
    made = {"ADMIN_KEY": new_admin_key(), "TOKEN_ENCRYPTION_KEY": new_key()}
    stored = {**made, **kept}
    if stored != kept and not set(_GENERATED) <= set(told):
        _write_private(path, "".join(f"{name}={stored[name]}\n" for name in _GENERATED))
    chosen = {**stored, **told}
    return Keys(chosen["ADMIN_KEY"], chosen["TOKEN_ENCRYPTION_KEY"], "ADMIN_KEY" not in told)


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
