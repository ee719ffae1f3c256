"""What a flood on one session and a thousand slow clients do to the other sessions.

`python -m tests.bench.flood`: a ring of its own with the default limits and the simulated engine. Some
sessions send one message after the other; first alone, then while another process sends 10,000
messages with one token as fast as it is let, and keeps 1,000 connections on which next to nothing is
said. Printed are the others' latencies in both phases, the flood's answers, and the api's memory.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.bench.memory import resident_megabytes
from tests.deadlines import eventually
from tests.standing import standing_ring
from tests.system.ring import Ring

CALM_SECONDS = 15.0
CONNECTIONS = 200
TO = "919876543210"
TEXT = {"to": TO, "type": "text", "message": "Hello World!"}
OPENINGS = {
    "says nothing": "",
    "drips headers": "POST /api/messages/send HTTP/1.1\r\nHost: x\r\n",
    "drips a body": "POST /api/messages/send HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
    "reads no events": "GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n",
}


class SlowClients:
    """Connections that say a byte a second; one that is cut off comes again."""

    def __init__(self, url: str, token: str) -> None:
        self._address = urlsplit(url)
        self._token = token
        self.open = 0
        self.cut_off = 0

    async def one(self, opening: str) -> None:
        """One of them, until cancelled."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    self._address.hostname, self._address.port, limit=1024
                )
            except OSError:
                await asyncio.sleep(0.5)
                continue
            self.open += 1
            try:
                writer.write(opening.format(token=self._token).encode())
                while not reader.at_eof():
                    await asyncio.sleep(1)
                    if opening and "/api/events" not in opening:
                        writer.write(b"x")
                        await writer.drain()
            except OSError:
                pass
            finally:
                self.open -= 1
                self.cut_off += 1
                writer.close()


async def flood(url: str, token: str, sends: int, slow: int) -> dict[str, Any]:
    """Send all of them; what came back, and how it went with the slow clients."""
    clients = SlowClients(url, token)
    openings = list(OPENINGS.values())
    dripping = [asyncio.create_task(clients.one(openings[n % len(openings)])) for n in range(slow)]
    await eventually(lambda: clients.open >= slow * 0.9, what="they are connected")
    answers: Counter[str] = Counter()
    numbers = iter(range(sends))
    began = time.monotonic()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        headers={"Authorization": f"Bearer {token}", "Prefer": "respond-async"},
        timeout=aiohttp.ClientTimeout(total=120),
    ) as session:

        async def send() -> None:
            for _ in numbers:
                async with session.post(f"{url}/api/messages/send", json=TEXT) as answer:
                    body = await answer.json()
                    answers[f"{answer.status} {body.get('code', body.get('status'))}"] += 1

        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    took = time.monotonic() - began
    for task in dripping:
        task.cancel()
    return {
        "seconds": round(took, 1),
        "answers": dict(answers),
        "slow clients open at the end": clients.open,
        "slow clients cut off": clients.cut_off,
    }


async def send_in_turn(ring: Ring, token: str, stop: asyncio.Event) -> list[float]:
    """Send one after the other, four a second at most; the latencies in milliseconds."""
    latencies = []
    client = ring.client(token)
    while not stop.is_set():
        began = time.monotonic()
        answer = await client.post("/api/messages/send", json=TEXT)
        assert answer.status_code == 200, answer.text
        latencies.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(0.25)
    return latencies


async def latencies_until(
    ring: Ring, tokens: Sequence[str], ended: "asyncio.Task[Any]"
) -> list[float]:
    """Those of all sessions until the task ends."""
    stop = asyncio.Event()
    sending = [asyncio.create_task(send_in_turn(ring, token, stop)) for token in tokens]
    await asyncio.wait([ended])
    stop.set()
    return [one for each in await asyncio.gather(*sending) for one in each]


async def largest_size(pid: int, ended: "asyncio.Task[Any]") -> float:
    """The process's resident memory in MB, looked at four times a second."""
    largest = 0.0
    while not ended.done():
        largest = max(largest, resident_megabytes(pid) or 0)
        await asyncio.sleep(0.25)
    return largest


async def run_flood(url: str, token: str, asked: argparse.Namespace) -> dict[str, Any]:
    """`flood` in a process of its own, so that it does not slow the measuring down."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.flood", "--url", url, "--token", token),
        *("--sends", str(asked.sends), "--slow", str(asked.slow)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found


def described(name: str, latencies: list[float]) -> None:
    """Print how quick they were."""
    cuts = statistics.quantiles(latencies, n=100)
    print(
        f"{name:<8} {len(latencies)} sends of the others, ms: "
        f"median {statistics.median(latencies):.1f}, p95 {cuts[94]:.1f}, max {max(latencies):.1f}"
    )


async def measure(asked: argparse.Namespace) -> None:
    """Both phases, printed."""
    async with standing_ring(environment={"SIMULATED_LINKS_AFTER": "0.1"}) as ring:
        sessions = [await ring.create_session(f"session {n}") for n in range(asked.sessions + 1)]
        for session in sessions:
            await ring.wait_for_status(session["sessionId"], "working")
        flooded, *tokens = [session["token"] for session in sessions]
        pid = ring.processes["api-0"].pid
        calm_end = asyncio.create_task(asyncio.sleep(CALM_SECONDS))
        calm = await latencies_until(ring, tokens, calm_end)
        before = resident_megabytes(pid) or 0
        flooding = asyncio.create_task(run_flood(ring.url(), flooded, asked))
        sizes = asyncio.create_task(largest_size(pid, flooding))
        during = await latencies_until(ring, tokens, flooding)
        described("calm", calm)
        described("flood", during)
        print(f"median ratio {statistics.median(during) / statistics.median(calm):.2f}")
        print(f"api memory, MB: {before:.0f} before, {await sizes:.0f} at most")
        for name, value in flooding.result().items():
            print(f"{name}: {value}")


def main() -> None:
    """Run by hand; with --url it is the flood itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sends", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=1_000)
    parser.add_argument("--sessions", type=int, default=5, help="that go on beside the flood")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.url:
        print(json.dumps(asyncio.run(flood(asked.url, asked.token, asked.sends, asked.slow))))
    else:
        asyncio.run(measure(asked))


if __name__ == "__main__":
    main()
