"""The commands of `python -m wa_api`."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import structlog
import uvloop

from wa_api.broker_setup import CannotSetUpBroker, set_up_broker
from wa_api.key_rotation import CannotRotate
from wa_api.keys import load_encryption_key, load_keys
from wa_api.processes import (
    run_api,
    run_deliverer,
    run_key_rotation,
    run_projector,
    run_rebuild,
)
from wa_api.server import CannotListen
from wa_api.settings import Settings, load_settings
from wa_api.shadow_tables import CannotRebuild
from wa_contracts.runtime.logs import configure_logs
from wa_contracts.runtime.migrations import migrate
from wa_contracts.runtime.traces import configure_traces

log = structlog.get_logger()


def main(arguments: Sequence[str]) -> int:
    """Run one command of `python -m wa_api`; the exit status."""
    parser = argparse.ArgumentParser(prog="wa_api")
    parser.add_argument("command", choices=tuple(COMMANDS))
    command = parser.parse_args(arguments).command
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    service, work = COMMANDS[command]
    configure_traces(service, settings.otel_exporter_otlp_endpoint)
    try:
        uvloop.run(work(settings))
    except (*REFUSALS, OSError) as error:  # or an unreadable key, no database …
        sys.stderr.write(f"{error or 'The database did not answer in time.'}\n")
        return 1
    return 0


async def _migrate(settings: Settings) -> None:
    applied = await migrate(settings.api_database_url.get_secret_value(), "wa_api")
    log.info("migrated", applied=len(applied))


async def _project(settings: Settings) -> None:
    await run_projector(settings, _signalled())


async def _deliver(settings: Settings) -> None:
    key = load_encryption_key(settings.data_dir, given=settings.token_encryption_key)
    await run_deliverer(settings, key, _signalled())


async def _rebuild(settings: Settings) -> None:
    await run_rebuild(settings, _signalled())


async def _rotate_key(settings: Settings) -> None:
    if settings.token_encryption_key is None or settings.former_token_encryption_key is None:
        raise CannotRotate(
            "Give the new key as TOKEN_ENCRYPTION_KEY and the one that it follows as "
            "FORMER_TOKEN_ENCRYPTION_KEY. Nothing was changed."
        )
    await run_key_rotation(settings, settings.token_encryption_key)


async def _set_up_broker(settings: Settings) -> None:
    wanted = {
        "BROKER_MANAGEMENT_URL": settings.broker_management_url,
        "API_BROKER_PASSWORD": settings.api_broker_password,
        "SESSION_HOST_BROKER_PASSWORD": settings.session_host_broker_password,
    }
    given = {name: value.get_secret_value() for name, value in wanted.items() if value is not None}
    if missing := [name for name in wanted if name not in given]:
        raise CannotSetUpBroker(f"{', '.join(missing)} is not set. Nothing was changed.")
    await set_up_broker(
        given["BROKER_MANAGEMENT_URL"],
        api_password=given["API_BROKER_PASSWORD"],
        session_host_password=given["SESSION_HOST_BROKER_PASSWORD"],
    )


async def _serve(settings: Settings) -> None:
    keys = load_keys(
        settings.data_dir, admin=settings.admin_key, encryption=settings.token_encryption_key
    )

    def announce(port: int) -> None:
        log.info("api_ready", host=settings.host, port=port)
        if keys.admin_made_here:
            key = keys.admin.get_secret_value()
            sys.stdout.write(f"Log in: http://localhost:{port}/login?key={key}\n")
            sys.stdout.flush()

    await run_api(settings, keys, stop=_signalled(), on_ready=announce)


def _signalled() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


COMMANDS: Mapping[str, tuple[str, Callable[[Settings], Coroutine[Any, Any, None]]]] = {
    "serve": ("wa-api", _serve),
    "project": ("wa-projector", _project),
    "deliver": ("wa-webhooks", _deliver),
    "migrate": ("wa-api-migrate", _migrate),
    "rebuild": ("wa-api-rebuild", _rebuild),
    "rotate-key": ("wa-api-rotate-key", _rotate_key),
    "set-up-broker": ("wa-api-set-up-broker", _set_up_broker),
}
"""What traces call a command's process, and what it does."""
REFUSALS = (CannotListen, CannotRebuild, CannotRotate, CannotSetUpBroker)
"""What ends a command with a sentence of its own."""
