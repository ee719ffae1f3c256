"""The soak: messages through two hosts while strikes fall, then everything is compared.

`make soak` runs it alone: `python -m tests.faults.soak --messages 10000 --sessions 50 --seed 1`.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from deploy.local import databases, servers
from deploy.local.databases import Databases
from tests.deadlines import eventually
from tests.faults import recorder
from tests.faults.clients import Clients, Sent
from tests.faults.strikes import Strike, Strikes
from tests.queues import is_consumed
from tests.system.ring import Ring
from wa_contracts.consumer import subscribe
from wa_contracts.envelope import Envelope

ENDED = {"sent", "delivered", "read", "failed", "unknown", "cancelled"}
SETTLED_WITHIN = 180.0


@dataclass(frozen=True)
class Plan:
    """How much, and from which seed."""

    messages: int
    sessions: int
    at_once: int
    pause: float
    seed: int


@dataclass
class Findings:
    """What was seen from every side when all was quiet again."""

    plan: Plan
    seconds: float
    strikes: list[Strike]
    sent: list[Sent]
    recorded: list[recorder.Recorded]
    consumed: list[Envelope]
    stored: Sequence[Mapping[str, Any]]
    projected: Mapping[str, Mapping[str, Any]]

    def problems(self) -> list[str]:
        """Every promise that was broken, one sentence each; empty if none was."""
        return [
            *self._every_accepted_message_ended_once(),
            *self._nothing_reached_the_recorder_twice(),
            *self._no_200_without_an_ack(),
            *self._events_are_gapless_in_store_and_consumer(),
            *self._projections_equal_the_store(),
            *self._unknown_only_under_a_strike(),
        ]

    def _ends(self) -> dict[str, list[str]]:
        ends: dict[str, list[str]] = {}
        for row in self.stored:
            name = row["type"].removeprefix("message.")
            if row["type"].startswith("message.") and name in ENDED - {"delivered", "read"}:
                ended = ends.setdefault(row["stream"].removeprefix("message-"), [])
                if name == "sent" and ended == ["unknown"]:
                    ended.clear()  # proven by a receipt: that is its end then
                ended.append(name)
        return ends

    def _every_accepted_message_ended_once(self) -> list[str]:
        ends = self._ends()
        return [
            f"{one.key} ({one.statuses}) ended as {ends.get(one.id or '', [])}"
            for one in self.sent
            if one.accepted and len(ends.get(one.id or "", [])) != 1
        ]

    def _nothing_reached_the_recorder_twice(self) -> list[str]:
        times = Counter((one.session, one.text) for one in self.recorded)
        return [f"{text} reached WhatsApp {n} times" for (_, text), n in times.items() if n > 1]

    def _no_200_without_an_ack(self) -> list[str]:
        known = {one.message_id: one for one in self.recorded}
        wrong = []
        for one in self.sent:
            if one.acknowledged_as is not None:
                ack = known.get(one.acknowledged_as)
                if ack is None or (ack.session, ack.text) != (one.session, one.key):
                    wrong.append(f"{one.key} was answered 200 without an ack")
        return wrong

    def _events_are_gapless_in_store_and_consumer(self) -> list[str]:
        wrong = []
        by_session: dict[Any, list[int]] = {}
        for row in self.stored:
            if row["session_sequence"] is not None:
                by_session.setdefault(row["session_id"], []).append(row["session_sequence"])
        consumed: dict[Any, list[int]] = {}
        for event in self.consumed:
            consumed.setdefault(event.session_id, []).append(event.session_sequence)
        for session_id, sequences in by_session.items():
            gapless = list(range(1, len(sequences) + 1))
            if sequences != gapless:
                wrong.append(f"the store of {session_id} has gaps or another order")
            if sorted(set(consumed.get(session_id, []))) != gapless:
                missing = set(gapless) - set(consumed.get(session_id, []))
                wrong.append(f"the consumer missed {sorted(missing)[:5]} of {session_id}")
            if consumed.get(session_id, []) != gapless:
                wrong.append(f"the consumer saw {session_id} in another order")
        return wrong

    def _projections_equal_the_store(self) -> list[str]:
        wrong = []
        for message_id, names in self._ends().items():
            row = self.projected.get(message_id)
            shown = row["status"] if row is not None else None
            if shown != names[-1]:
                wrong.append(f"{message_id} is {names[-1]} in the store, {shown} on the page")
        return wrong

    def _unknown_only_under_a_strike(self) -> list[str]:
        """A send is under a strike if one fell between its start and its end, give or take."""
        started: dict[str, float] = {}
        wrong = []
        for row in self.stored:
            at = row["occurred_at"].timestamp()
            if row["type"] == "message.send_started":
                started[row["stream"]] = at
            elif row["type"] == "message.unknown":
                began = started.get(row["stream"], at)
                struck = [s for s in self.strikes if s.began - 1 <= at and s.ended + 1 >= began]
                if not struck:
                    wrong.append(f"{row['stream']} is unknown, though nothing struck")
        return wrong

    def table(self) -> str:
        """The findings for people."""
        ends = Counter(names[-1] for names in self._ends().values())
        strikes = Counter(strike.name for strike in self.strikes)
        rows = [
            ("seed", self.plan.seed),
            ("seconds", round(self.seconds, 1)),
            ("messages wanted", len(self.sent)),
            ("accepted", sum(one.accepted for one in self.sent)),
            *((f"ended: {name}", number) for name, number in sorted(ends.items())),
            ("reached WhatsApp", len(self.recorded)),
            ("answers", dict(Counter(s for one in self.sent for s in one.statuses))),
            ("events stored", sum(r["session_sequence"] is not None for r in self.stored)),
            ("events consumed, each once", len(self.consumed)),
            ("strikes", dict(strikes)),
            ("promises broken", len(self.problems())),
        ]
        return "\n".join(f"{name:<28} {value}" for name, value in rows)


async def soak(plan: Plan, directory: Path) -> Findings:
    """Run the plan on servers and processes of its own."""
    async with AsyncExitStack() as stack:
        postgres = servers.postgres_server(directory / "postgres")
        stack.push_async_callback(postgres.stop)
        rabbitmq = servers.rabbitmq_server(directory / "rabbitmq")
        stack.push_async_callback(rabbitmq.stop)
        await asyncio.gather(postgres.start(), rabbitmq.start())
        store = await databases.provide(postgres.url, "soak", "soak_devices")
        log = directory / "recorded.jsonl"
        address = await stack.enter_async_context(recording(log))
        ring = Ring(
            directory=directory / "ring",
            databases=store,
            broker=rabbitmq.url,
            hosts=2,
            environment={
                "LEASE_SECONDS": "3",
                "SIMULATED_LINKS_AFTER": "0.1",
                "SIMULATED_SERVER": address,
                "SEND_WAIT_SECONDS": "10",
                "SESSION_RATE_PER_MINUTE": "100000",
            },
        )
        stack.push_async_callback(ring.stop)
        await ring.start()
        consumed: list[Envelope] = []
        consumer = asyncio.create_task(consume(rabbitmq.url, consumed))
        stack.callback(consumer.cancel)
        await eventually(
            lambda: is_consumed(rabbitmq.url, "soak"), within=20, what="the consumer listens"
        )
        sessions = [await ring.create_session(f"soak {n}") for n in range(plan.sessions)]
        for session in sessions:
            await ring.wait_for_status(session["sessionId"], "working", timeout=30)
        clients = Clients(ring, sessions, plan.seed)
        strikes = Strikes(ring, postgres, rabbitmq, seed=plan.seed)
        began = time.monotonic()
        ends = asyncio.Event()
        striking = asyncio.create_task(strikes.run(pause=plan.pause, ends=ends))
        await clients.send_all(plan.messages, plan.at_once)
        ends.set()
        await striking
        seconds = time.monotonic() - began
        await eventually(
            lambda: settled(store, consumed), within=SETTLED_WITHIN, what="all is quiet", every=0.5
        )
        return Findings(
            plan=plan,
            seconds=seconds,
            strikes=strikes.done,
            sent=clients.sent,
            recorded=recorder.read(log),
            consumed=consumed,
            stored=await stored_events(store),
            projected=await projected_messages(store),
        )


@asynccontextmanager
async def recording(log: Path) -> AsyncIterator[str]:
    """The recorder in a process of its own; its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.recorder", str(log), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = (await process.stdout.readline()).decode().strip()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def consume(url: str, consumed: list[Envelope]) -> None:
    """Consume every event as an independent program does."""
    async for event in subscribe(url, queue="soak"):
        consumed += (event,)


async def stored_events(store: Databases) -> list[dict[str, Any]]:
    """The whole event store, in the order of storing."""
    connection = await asyncpg.connect(store.session_host)
    try:
        rows = await connection.fetch(
            "SELECT session_id, session_sequence, stream, type, occurred_at FROM events "
            "ORDER BY position"
        )
        return [dict(row) for row in rows]
    finally:
        await connection.close()


async def projected_messages(store: Databases) -> dict[str, dict[str, Any]]:
    """Every message as the api shows it."""
    connection = await asyncpg.connect(store.api)
    try:
        rows = await connection.fetch("SELECT id, status FROM messages")
    finally:
        await connection.close()
    return {str(row["id"]): dict(row) for row in rows}


async def settled(store: Databases, consumed: list[Envelope]) -> bool:
    """Whether every message has ended, and all events were consumed and projected."""
    try:
        stored = await stored_events(store)
        projected = await projected_messages(store)
    except (OSError, asyncpg.PostgresError) as error:
        raise AssertionError(str(error)) from error
    open_messages = [row for row in projected.values() if row["status"] not in ENDED]
    public = sum(row["session_sequence"] is not None for row in stored)
    queued = {row["stream"] for row in stored if row["type"] == "message.queued"}
    assert not open_messages, f"{len(open_messages)} messages are open"
    assert len(consumed) >= public, f"{len(consumed)} of {public} events were consumed"
    assert len(projected) >= len(queued), f"{len(projected)} of {len(queued)} are projected"
    return True


def main() -> int:
    """Run by hand; the exit status says whether every promise held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--pause", type=float, default=4)
    parser.add_argument("--seed", type=int, default=1)
    plan = Plan(**vars(parser.parse_args()))
    directory = Path(tempfile.mkdtemp(prefix="wa-soak-"))
    findings = asyncio.run(soak(plan, directory))
    print(findings.table())
    problems = findings.problems()
    print(json.dumps(problems[:50], indent=2) if problems else "Every promise held.")
    if not problems:
        shutil.rmtree(directory)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
