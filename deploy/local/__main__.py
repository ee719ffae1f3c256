"""`python -m deploy.local <command>`; see `make help`."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable

from deploy.local import configuration, demo, doctor, tools
from deploy.local.configuration import Configuration, Misconfigured
from deploy.local.stack import Stack
from deploy.local.supervise import Supervisor
from deploy.servers.children import ChildDied
from deploy.servers.debian import PackageUnavailable
from deploy.servers.erlang import BrokerUnavailable
from deploy.servers.postgres import PostgresUnavailable
from deploy.servers.rabbitmq import RabbitMQRefused

# Errors for the user to fix. They are printed as a sentence, without a traceback.
_TOLD = (
    Misconfigured,
    ChildDied,
    PackageUnavailable,
    BrokerUnavailable,
    PostgresUnavailable,
    RabbitMQRefused,
)


def _run() -> int:
    """Everything, until Ctrl-C."""
    return asyncio.run(Supervisor(configuration.read()).run())


def _demo() -> int:
    """The same with the simulated engine, a data directory of its own and some sessions."""
    settings = configuration.read(fixed=demo.settings(os.environ))
    return asyncio.run(Supervisor(settings, on_ready=demo.create_sessions).run())


def _infra() -> int:
    """Postgres and RabbitMQ alone, for development by hand, until Ctrl-C."""
    return asyncio.run(_servers_only(configuration.read()))


def _doctor() -> int:
    """What this machine has and lacks."""
    return doctor.examine(configuration.read())


def _tools() -> int:
    """Install what only the tests use."""
    return tools.install_missing()


async def _servers_only(settings: Configuration) -> int:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with Stack(settings) as stack:
        urls = await stack.start()
        for name, value in urls.environment().items():
            print(f"{name}={value}")
        print(f"Also in {settings.data_dir / 'stack.env'}. Ctrl-C ends both.", flush=True)
        await ended.wait()
    return 0


_COMMANDS: dict[str, Callable[[], int]] = {
    "run": _run,
    "demo": _demo,
    "infra": _infra,
    "doctor": _doctor,
    "tools": _tools,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in _COMMANDS.items():
        commands.add_parser(name, help=command.__doc__)
    try:
        return _COMMANDS[parser.parse_args().command]()
    except _TOLD as error:
        print(error, file=sys.stderr)
    except ExceptionGroup as group:
        told, others = group.split(_TOLD)
        if others is not None:
            raise
        for error_text in _sentences(told):
            print(error_text, file=sys.stderr)
    return 1


def _sentences(error: BaseException | None) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [sentence for one in error.exceptions for sentence in _sentences(one)]
    return [] if error is None else [str(error)]


if __name__ == "__main__":
    sys.exit(main())
