"""The commands of `python -m wa_api`.

Each command imports its own process only: a projector loads no web server.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import structlog
import uvloop

from wa_api.access.keys import load_encryption_key, load_keys
from wa_api.refusal import Refusal
from wa_api.settings import Settings, load_settings
from wa_runtime.garbage_collection import tune_collector
from wa_runtime.logs import configure_logs
from wa_runtime.migrations import migrate
from wa_runtime.traces import configure_traces

log = structlog.get_logger()


def main(arguments: Sequence[str]) -> int:
    """Run a command of `python -m wa_api`; return the exit status."""
    parser = argparse.ArgumentParser(prog="wa_api")
    parser.add_argument("command", choices=tuple(COMMANDS))
    command = parser.parse_args(arguments).command
    settings = load_settings()
    configure_logs(settings.log_level, settings.log_format)
    service, work = COMMANDS[command]
    configure_traces(service, settings.otel_exporter_otlp_endpoint)
    try:
        uvloop.run(work(settings))
    except (Refusal, OSError) as error:  # also an unreadable key, an absent database …
        sys.stderr.write(f"{error or 'The database did not answer in time.'}\n")
        return 1
    return 0


async def _migrate(settings: Settings) -> None:
    applied = await migrate(settings.api_database_url.get_secret_value(), "wa_api")
    log.info("migrated", applied=len(applied))


async def _project(settings: Settings) -> None:
    from wa_api.processes.project import run_projector

    tune_collector()
    await run_projector(settings, _signalled())


async def _deliver(settings: Settings) -> None:
    from wa_api.processes.deliver import run_deliverer

    key = load_encryption_key(settings.data_dir, given=settings.token_encryption_key)
    await run_deliverer(settings, key, _signalled())


async def _rebuild(settings: Settings) -> None:
    from wa_api.processes.rebuild import run_rebuild

    await run_rebuild(settings, _signalled())


async def _rotate_key(settings: Settings) -> None:
    from wa_api.processes.rotate_key import run_key_rotation

    if settings.token_encryption_key is None or settings.former_token_encryption_key is None:
        raise Refusal(
            "Give the new key as TOKEN_ENCRYPTION_KEY and the one that it follows as "
            "FORMER_TOKEN_ENCRYPTION_KEY. Nothing was changed."
        )
    await run_key_rotation(settings, settings.token_encryption_key)


async def _set_up_broker(settings: Settings) -> None:
    from wa_api.processes.set_up_broker import set_up_broker

    wanted = {
        "BROKER_MANAGEMENT_URL": settings.broker_management_url,
        "API_BROKER_PASSWORD": settings.api_broker_password,
        "SESSION_HOST_BROKER_PASSWORD": settings.session_host_broker_password,
    }
    given = {name: value.get_secret_value() for name, value in wanted.items() if value is not None}
    if missing := [name for name in wanted if name not in given]:
        raise Refusal(f"{', '.join(missing)} is not set. Nothing was changed.")
    await set_up_broker(
        given["BROKER_MANAGEMENT_URL"],
        api_password=given["API_BROKER_PASSWORD"],
        session_host_password=given["SESSION_HOST_BROKER_PASSWORD"],
    )


async def _serve(settings: Settings) -> None:
    from wa_api.processes.serve import run_api

    keys = load_keys(
        settings.data_dir, admin=settings.admin_key, encryption=settings.token_encryption_key
    )

    def announce(port: int) -> None:
        tune_collector()
        log.info("api_ready", host=settings.host, port=port)
        if keys.admin_made_here:
            key = keys.admin.get_secret_value()
            sys.stdout.write(
                f"Log in: http://localhost:{port}{settings.base_path}/login?key={key}\n"
            )
            sys.stdout.flush()

    await run_api(settings, keys, stop=_signalled(), on_ready=announce)


def _signalled() -> asyncio.Event:
    """An event set by SIGTERM or SIGINT."""
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
"""Name of the process in traces, and its function."""
