"""Settings from the environment, `.env` or the local stack's file."""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_BASE_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


class Settings(BaseSettings):
    """The api's settings. Names are environment variables in lower case.

    `host` is a comma-separated list of addresses to listen on; `localhost` is both 127.0.0.1 and
    ::1. `media_allowed_hosts` and `webhook_allowed_hosts` are comma-separated hosts that may be
    private, as sources of media and as webhook targets. `base_path` is the path of a reverse proxy
    below which everything is; `cors_allowed_origins` are comma-separated exact origins. `trusted_proxies` are comma-separated
    addresses or networks whose X-Forwarded-Proto and X-Forwarded-For are trusted.

    `former_token_encryption_key` opens secrets until `rotate-key` has resealed them. Only
    `set-up-broker` uses `broker_management_url` and the two broker passwords. Traces go to
    `otel_exporter_otlp_endpoint` over HTTP; without it, tracing is off. A name ends with its unit.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "localhost"
    port: Annotated[int, Field(ge=0, le=65535)] = 3000
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9464
    projector_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9465
    admin_key: SecretStr | None = None
    token_encryption_key: SecretStr | None = None
    former_token_encryption_key: SecretStr | None = None
    api_database_url: SecretStr = SecretStr("postgresql://wa_api@localhost:5432/whatsapp")
    amqp_url: SecretStr = SecretStr("amqp://guest:guest@localhost:5672/")
    broker_management_url: SecretStr | None = None
    api_broker_password: SecretStr | None = None
    session_host_broker_password: SecretStr | None = None
    public_url: Annotated[str | None, Field(pattern=r"^https?://[^?#\s]+$")] = None
    data_dir: Path = Path(".data")
    media_root: Path | None = None
    media_max_bytes: Annotated[int, Field(gt=0)] = 100 * 1024 * 1024
    media_inline_max_bytes: Annotated[int, Field(gt=0)] = 16 * 1024 * 1024
    media_store_url: str | None = None
    media_days: Annotated[int, Field(ge=1)] = 30
    session_media_quota_bytes: Annotated[int, Field(gt=0)] = 1024 * 1024 * 1024
    media_allowed_hosts: Annotated[frozenset[str], NoDecode] = frozenset()
    webhooks_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9467
    webhook_allowed_hosts: Annotated[frozenset[str], NoDecode] = frozenset()
    webhook_connect_seconds: Annotated[float, Field(gt=0)] = 5.0
    webhook_answer_seconds: Annotated[float, Field(gt=0)] = 15.0
    webhook_retry_first_seconds: Annotated[float, Field(gt=0)] = 5.0
    webhook_retry_longest_seconds: Annotated[float, Field(gt=0)] = 3_600.0
    webhook_retry_seconds: Annotated[float, Field(gt=0)] = 86_400.0
    webhook_backlog_limit: Annotated[int, Field(ge=1)] = 10_000
    webhook_concurrency: Annotated[int, Field(ge=1)] = 200
    webhook_endpoint_concurrency: Annotated[int, Field(ge=1)] = 4
    webhook_media_link_seconds: Annotated[float, Field(gt=0)] = 86_400.0
    webhook_secret_overlap_seconds: Annotated[float, Field(ge=0)] = 86_400.0
    trusted_proxies: str = "127.0.0.1,::1"
    base_path: str = ""
    cors_allowed_origins: Annotated[frozenset[str], NoDecode] = frozenset()
    send_wait_seconds: Annotated[float, Field(gt=0)] = 30.0
    session_rate_per_minute: Annotated[int, Field(ge=1)] = 600
    session_queue_limit: Annotated[int, Field(ge=1)] = 10_000
    session_wait_limit: Annotated[int, Field(ge=1)] = 1_000
    session_stream_limit: Annotated[int, Field(ge=1)] = 20
    audit_days: Annotated[int, Field(ge=1)] = 365
    retention_days: Annotated[int, Field(ge=2)] = 30
    otel_exporter_otlp_endpoint: str | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    @field_validator("base_path")
    @classmethod
    def _path(cls, value: str) -> str:
        path = value.rstrip("/")
        if path and not _BASE_PATH.fullmatch(path):
            raise ValueError(
                f"BASE_PATH is a path such as /wa, of letters, digits, '-', '_', '.' and '~', not {value!r}."
            )
        return path

    @field_validator("cors_allowed_origins")
    @classmethod
    def _exact(cls, value: frozenset[str]) -> frozenset[str]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    "CORS_ALLOWED_ORIGINS takes exact origins such as https://app.example.com, "
                    f"without a path and no wildcard, not {origin!r}."
                )
        return value

    @field_validator(
        "media_allowed_hosts", "webhook_allowed_hosts", "cors_allowed_origins", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _named(cls, value: str) -> str:
        """Refuse `*`, which would trust any client's own X-Forwarded-For header."""
        for name in (part.strip() for part in value.split(",") if part.strip()):
            try:
                ip_network(name, strict=False)
            except ValueError as error:
                raise ValueError(
                    f"TRUSTED_PROXIES takes addresses and networks such as 10.0.0.0/8, not {name!r}."
                ) from error
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @property
    def address(self) -> str:
        """Where clients reach the api: PUBLIC_URL, or this machine's port."""
        return (self.public_url or f"http://localhost:{self.port}{self.base_path}").rstrip("/")

    @property
    def session_burst(self) -> int:
        """Most sends of a session at once. A larger burst would delay other sessions."""
        return min(self.session_rate_per_minute, max(20, self.session_rate_per_minute // 10))

    @property
    def upload_store(self) -> str:
        """Place of uploads: MEDIA_STORE_URL, or `uploads` in the data directory."""
        return self.media_store_url or (self.data_dir.absolute() / "uploads").as_uri()

    @property
    def media_directory(self) -> Path:
        """Directory of local media: MEDIA_ROOT, or `media` in the data directory."""
        return self.media_root or self.data_dir / "media"


def load_settings() -> Settings:
    """Load settings from the environment, then `.env`, then the local stack's file.

    Raises:
        pydantic.ValidationError: A value is invalid.
    """
    stack = Path(os.environ.get("DATA_DIR", ".data")) / "stack.env"
    return Settings(_env_file=(stack, ".env"))
