"""Settings of a session-host, from the environment and `.env`."""

import os
import secrets
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _host_id() -> str:
    """A unique name of this process: a restarted host is another host."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class Settings(BaseSettings):
    """Every default fits the local stack."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    host_id: str = Field(default_factory=_host_id)
    session_host_database_url: SecretStr = SecretStr(
        "postgresql://wa_session_host@127.0.0.1:5432/whatsapp"
    )
    device_store_url: SecretStr = SecretStr("postgresql://wa_devices@127.0.0.1:5432/wa_devices")
    amqp_url: SecretStr = SecretStr("amqp://guest:guest@127.0.0.1:5672/")
    engine: Literal["neonize", "simulated"] = "neonize"
    data_dir: Path = Path(".data")
    media_root: Path | None = None
    media_max_bytes: int = Field(default=100 * 1024 * 1024, gt=0)
    media_ca_file: Path | None = None
    """Further certificate authorities of media servers, in PEM."""
    media_store_url: str | None = None
    """`file:///folder` or `s3://bucket/prefix`, as the api's; None is a folder in `data_dir`."""
    media_days: int = Field(default=30, ge=1)
    """Days until kept media of incoming messages is deleted."""
    session_media_quota_bytes: int = Field(default=1024 * 1024 * 1024, gt=0)
    """A session's kept media together."""
    media_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    session_queue_limit: int = Field(default=10_000, gt=0)
    session_queue_max_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Content of a session's unsent messages."""
    pace_per_minute: float | None = Field(default=None, gt=0)
    pace_per_day: int | None = Field(default=None, ge=1)
    """Sends per session; None means no limit."""
    retention_days: int = Field(default=30, ge=2)
    """Age at which an ended message may be deleted; at least two days, for the idempotency keys."""
    lease_seconds: float = Field(default=10, ge=2)
    login_seconds: float = Field(default=30, gt=0)
    """A login that takes longer is tried anew."""
    session_starts_per_second: float = Field(default=20, gt=0)
    """Upper limit of engine starts per second, for a host that takes over many sessions."""
    worker_memory_limit_bytes: int | None = Field(default=None, ge=256 * 1024 * 1024)
    """Private memory of one session's engine; None: see `worker_memory_limit`."""
    worker_memory_merging: bool = False
    whatsapp_client_version: str = Field(default="", pattern=r"^(|auto|2\.3000\.1[0-9]{9})$")
    """Empty: the engine's own. `2.3000.N`: that one. `auto`: what WhatsApp serves to browsers."""
    whatsapp_web_url: str = "https://web.whatsapp.com"
    """Where `auto` looks."""
    health_host: str = "127.0.0.1"
    health_port: int = 8081
    otel_exporter_otlp_endpoint: str | None = None
    """OTLP/HTTP endpoint for traces; None means no traces."""
    log_level: str = "INFO"
    log_format: Literal["console", "json"] = "console"
    simulated_links_after: float | None = 2.0
    simulated_server: str | None = None
    simulated_qr_seconds: float = Field(default=20, gt=0)
    simulated_qr_codes: int = Field(default=6, gt=0)
    simulated_receipts: bool = True

    @field_validator(
        *("pace_per_minute", "pace_per_day", "media_root", "media_store_url", "media_ca_file"),
        "worker_memory_limit_bytes",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("media_allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def upload_store(self) -> str:
        """Place of uploads."""
        return self.media_store_url or (self.data_dir.absolute() / "uploads").as_uri()

    @property
    def worker_memory_limit(self) -> int:
        """Bytes. An idle engine counts 195 MiB, and holds a file that it sends three times."""
        return self.worker_memory_limit_bytes or 256 * 1024 * 1024 + 4 * self.media_max_bytes

    @property
    def media_folder(self) -> Path:
        """Root of local media paths."""
        return self.media_root or self.data_dir / "media"

    @property
    def engine_folder(self) -> Path:
        """Folder for copies of the engine's library."""
        return self.data_dir / "engine"

    @property
    def spool(self) -> Path:
        """Folder for media in transfer, outgoing and incoming."""
        return self.data_dir / "spool"
