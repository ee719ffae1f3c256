"""`python -m tests.integration.local.run_stand_ins`: the supervisor with stand-ins for the services."""

import asyncio
import os
import sys
from collections.abc import Mapping

from deploy.local import configuration
from deploy.local.configuration import Configuration, Misconfigured
from deploy.local.services import Program, Service, python_module
from deploy.local.supervise import Supervisor


def _program(_: Configuration, environment: Mapping[str, str]) -> Program:
    def service(name: str, kind: str, within: float = 10) -> Service:
        return Service(
            name, python_module("tests.integration.local.stand_in", kind), environment, within
        )

    return Program(
        migrations=(service("migrate", "done"),),
        services=(
            service("session-host", os.environ.get("STAND_IN_HOST", "stubborn"), within=1),
            service("api", "answer"),
        ),
    )


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(Supervisor(configuration.read(), program=_program).run()))
    except Misconfigured as error:
        sys.exit(str(error))
