"""What linked sessions on the real engine cost: memory, threads, connections to the device store.

`python -m tests.bench.sizing --sessions 10`: servers, processes and a stand-in of its own, one host.
Each session is linked, sends a message, and is then left alone for a moment.
"""

import argparse
import asyncio
import re
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import psutil

from deploy.local import databases
from tests.bench.memory import resident_megabytes
from tests.standing import standing_servers
from tests.system.linking import link
from tests.system.ring import Ring
from tests.whatsapp import StandIn

CONTACT = "12345678900"
SETTLE_SECONDS = 5
CONNECTIONS = """
SELECT usename, count(*) AS held FROM pg_stat_activity
WHERE usename LIKE 'wa\\_%' GROUP BY usename ORDER BY usename
"""


async def measure(sessions: int, directory: Path) -> list[tuple[str, object]]:
    """Link so many sessions, one after the other, and look."""
    async with AsyncExitStack() as stack:
        postgres, rabbitmq = await stack.enter_async_context(standing_servers(directory))
        whatsapp = await stack.enter_async_context(StandIn.start())
        ring = Ring(
            directory=directory / "ring",
            databases=await databases.provide(postgres.url),
            broker=rabbitmq.url,
            engine="neonize",
            host_environment=whatsapp.engine_environment(),
        )
        stack.push_async_callback(ring.stop)
        await ring.start()
        ring.start_webhooks()
        whatsapp.contact(CONTACT)
        figures = [await _look(ring, postgres.url, 0)]
        for number in range(sessions):
            session = await link(ring, whatsapp.phone(str(919810000000 + number)))
            answer = await ring.send(session["token"], to=CONTACT, type="text", message="hello")
            assert answer.status_code == 200, answer.text
        await asyncio.sleep(SETTLE_SECONDS)
        figures.append(await _look(ring, postgres.url, sessions))
    return [line for part in figures for line in part]


async def _look(ring: Ring, superuser: str, sessions: int) -> list[tuple[str, object]]:
    async with httpx.AsyncClient(trust_env=False) as client:
        port = ring.processes["host-0"].orders.env["HEALTH_PORT"]
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    shown = dict(re.findall(r"^(wa_worker\w*) ([0-9.e+]+)$", text, re.MULTILINE))
    workers = int(float(shown["wa_workers"]))
    memory = float(shown["wa_worker_memory_bytes"]) / 1e6
    host = psutil.Process(ring.processes["host-0"].pid)
    threads = sum(p.num_threads() for p in (host, *host.children(recursive=True)))
    connection = await asyncpg.connect(superuser)
    held = {row["usename"]: row["held"] for row in await connection.fetch(CONNECTIONS)}
    await connection.close()
    resident = {name: resident_megabytes(c.pid) for name, c in ring.processes.items()}
    return [
        (f"with {sessions} sessions: workers", workers),
        ("  memory of a worker, proportional, MB", round(memory / workers, 1) if workers else "-"),
        ("  threads of the host and its workers", threads),
        ("  connections by role", held),
        ("  resident, MB", resident),
    ]


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10)
    sessions = parser.parse_args().sessions
    with tempfile.TemporaryDirectory(prefix="wa-bench-", ignore_cleanup_errors=True) as directory:
        for name, value in asyncio.run(measure(sessions, Path(directory))):
            print(f"{name:<44} {value}")


if __name__ == "__main__":
    main()
