"""The examples run as they stand; those for consumers installed as their readers install them."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.servers.ports import free_port
from tests.deadlines import eventually
from tests.npm import installed
from tests.queues import is_consumed
from tests.system.conftest import NewRing
from tests.system.ring import Ring

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NEEDED = {"wa-contracts", "pydantic", "uuid-utils", "aio-pika"}
NO_INDEX = "could not be installed. Is a package index reachable from here? It said:"


async def output_of(*command: str, cwd: Path = ROOT) -> str:
    """What a command prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(150):
        out, _ = await process.communicate()
    assert process.returncode == 0, f"{command[0]} {NO_INDEX}\n{out.decode()}"
    return out.decode()


@pytest.fixture(scope="module")
async def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the consumer library alone."""
    uv = str(Path(sys.executable).with_name("uv"))
    environment = tmp_path_factory.mktemp("consumer") / "venv"
    await output_of(uv, "venv", "--python", sys.executable, str(environment))
    interpreter = environment / "bin" / "python"
    await output_of(
        uv, "pip", "install", "--python", str(interpreter), "./libs/contracts[consumer]"
    )
    return interpreter


@pytest.fixture(scope="module")
async def node() -> Path:
    """A folder with the example for Node and what it needs, kept from run to run."""
    return await asyncio.to_thread(installed, EXAMPLES / "node")


@dataclass(frozen=True)
class Example:
    """How an example is run."""

    command: Sequence[str]
    cwd: Path


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Example:
    """One of the examples."""
    if request.param == "python":
        python: Path = request.getfixturevalue("python")
        return Example((str(python), str(EXAMPLES / "python" / "consumer.py")), ROOT)
    node: Path = request.getfixturevalue("node")
    return Example(("node", "consumer.mjs"), node)


class Running:
    """An example that runs, and the lines that it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(json.loads(line))

    async def prints(self, count: int) -> list[dict[str, Any]]:
        """The lines, once there are so many."""
        await eventually(
            lambda: len(self.lines) >= count,
            what=f"{count} lines are printed; there are {self.lines}",
        )
        return self.lines

    async def prints_about(self, whatsapp_id: str) -> None:
        """Wait for a line about the message with this id."""
        await eventually(
            lambda: any(line["message"] == whatsapp_id for line in self.lines),
            what=f"a line about {whatsapp_id} is printed",
        )

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def running(example: Example, environment: Mapping[str, str]) -> AsyncIterator[Running]:
    """Run an example until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *example.command,
        cwd=example.cwd,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    made = Running(process)
    try:
        yield made
    finally:
        await made.kill()


@dataclass(frozen=True)
class WorkingRing:
    """A ring and a working session."""

    ring: Ring
    session: dict[str, Any]

    async def send(self, text: str, to: str = "15550000005") -> dict[str, Any]:
        """A text; this recipient answers with the same."""
        answer = await self.ring.send(self.session["token"], to=to, type="text", message=text)
        body: dict[str, Any] = answer.json()
        return body


@pytest.fixture(scope="module")
async def working_ring(new_ring: NewRing) -> AsyncIterator[WorkingRing]:
    """One ring for the module."""
    ring = await new_ring(
        environment={"SIMULATED_LINKS_AFTER": "0.1", "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1"}
    )
    session = await ring.create_session("shop")
    await ring.wait_for_status(session["sessionId"], "working")
    yield WorkingRing(ring, session)
    await ring.stop()


@pytest.mark.parametrize("example", ["python", "node"], indirect=True)
async def test_it_prints_what_happens_and_after_a_kill_what_it_missed(
    working_ring: WorkingRing, example: Example, request: pytest.FixtureRequest
) -> None:
    queue = f"example of {request.node.callspec.id}"
    environment = {"AMQP_URL": working_ring.ring.broker, "QUEUE": queue}
    async with running(example, environment) as first:
        await eventually(lambda: is_consumed(working_ring.ring.broker, queue), what="it consumes")
        sent = await working_ring.send("hello")
        await working_ring.send("nobody", to="15550000000")
        lines = await first.prints(3)
        kinds = {line["type"]: line for line in lines}
        assert kinds["message.sent"]["message"] == sent["messageId"]
        assert kinds["message.received"]["about"] == "hello"
        assert kinds["message.failed"]["about"] == "not_on_whatsapp"
        assert {line["session"] for line in lines} == {working_ring.session["sessionId"]}
    missed = await working_ring.send("while it is away")
    async with running(example, environment) as second:
        for message in (missed, await working_ring.send("back again")):
            await second.prints_about(message["messageId"])
        sequences = [line["sequence"] for line in second.lines]
        assert sequences == sorted(sequences)


async def test_the_library_reaches_into_the_past(working_ring: WorkingRing, python: Path) -> None:
    since = datetime.now(UTC)
    sent = await working_ring.send("before anybody listened")
    environment = {
        "AMQP_URL": working_ring.ring.broker,
        "QUEUE": "late",
        "SINCE": since.isoformat(),
    }
    late = Example((str(python), str(EXAMPLES / "python" / "consumer.py")), ROOT)
    async with running(late, environment) as reader:
        lines = await reader.prints(1)
    assert lines[0]["message"] == sent["messageId"]


async def test_the_receiver_takes_what_is_signed_by_its_endpoint(working_ring: WorkingRing) -> None:
    port = free_port()
    asked = {"url": f"http://127.0.0.1:{port}/whatsapp", "events": ["message.sent"]}
    endpoint = (await working_ring.ring.admin.post("/api/webhooks", json=asked)).json()
    address = f"/api/webhooks/{endpoint['id']}"
    uvicorn = (sys.executable, "-m", "uvicorn", "receiver:app", "--no-access-log")
    receiver = Example((*uvicorn, "--port", str(port)), EXAMPLES / "webhook_receiver")
    working_ring.ring.start_webhooks({"WEBHOOK_RETRY_FIRST_SECONDS": "0.2"})
    async with running(receiver, {"WEBHOOK_SECRET": "whsec_c29tZWJvZHkgZWxzZSdz"}) as wrong:
        sent = await working_ring.send("hello")

        async def refused() -> bool:
            shown = (await working_ring.ring.admin.get(address)).json()
            return bool(shown["lastError"] == "It answered 401.")

        await eventually(refused, what="a signature by another secret is refused")
        assert wrong.lines == []
    async with running(receiver, {"WEBHOOK_SECRET": endpoint["secret"]}) as right:
        [line] = await right.prints(1)
    assert (line["type"], line["session"]) == ("message.sent", working_ring.session["sessionId"])
    assert line["data"]["messageId"] == sent["messageId"]


async def test_the_library_needs_little(python: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    listed = json.loads(
        await output_of(uv, "pip", "list", "--format", "json", "--python", str(python), "--quiet")
    )
    names = {package["name"] for package in listed}
    assert names >= NEEDED
    assert len(names) <= 16, sorted(names)
    assert not names & {"asyncpg", "structlog", "fastapi", "wa-api", "wa-session-host"}


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((EXAMPLES / "node" / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all("resolved" not in package for package in packages.values())
    assert all(package["integrity"] for package in packages.values())
