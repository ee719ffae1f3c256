"""Settings of a local run from the environment and `.env`, all with defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[2]
DATABASE_NAMES = ("API_DATABASE_URL", "SESSION_HOST_DATABASE_URL", "DEVICE_STORE_URL")


class Misconfigured(RuntimeError):
    """A setting is invalid. The message names it and the valid values."""


@dataclass(frozen=True)
class Configuration:
    """Settings of one run. `environment` is `.env` under the real environment."""

    environment: Mapping[str, str]
    data_dir: Path
    port: int

    @property
    def engine(self) -> str:
        return self.environment.get("ENGINE", "neonize")

    @property
    def log_format(self) -> str:
        return self.environment.get("LOG_FORMAT", "console")

    @property
    def logs(self) -> Path:
        return self.data_dir / "logs"

    @property
    def external_databases(self) -> Mapping[str, str] | None:
        """The three database URLs if set; all or none."""
        named = {n: self.environment[n] for n in DATABASE_NAMES if self.environment.get(n)}
        if not named:
            return None
        missing = [name for name in DATABASE_NAMES if name not in named]
        if missing:
            raise Misconfigured(
                f"{', '.join(named)} is set, but not {', '.join(missing)}: name all three "
                "databases, or none to let a Postgres be started for you."
            )
        return named

    @property
    def external_broker(self) -> str | None:
        return self.environment.get("AMQP_URL") or None


def read(
    fixed: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    dotenv: Path = ROOT / ".env",
) -> Configuration:
    """Read the settings. `fixed` overrides the environment, which overrides `.env`."""
    told = os.environ if environment is None else environment
    from_file = {name: value for name, value in dotenv_values(dotenv).items() if value is not None}
    merged = {**from_file, **told, **(fixed or {})}
    port = merged.get("PORT") or "3000"
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise Misconfigured(f"PORT is {port!r}: it must be a number from 1 to 65535.")
    data_dir = Path(merged.get("DATA_DIR") or ".data").expanduser()
    return Configuration(
        environment=merged,
        data_dir=data_dir if data_dir.is_absolute() else ROOT / data_dir,
        port=int(port),
    )
