"""Clients that send, and what it cost."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, repeat
from statistics import median
from typing import Any, NoReturn

import aiohttp
import psutil


@dataclass(frozen=True)
class Caller:
    """One client: what it posts, again and again."""

    url: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    status: int = 200


@dataclass(frozen=True)
class Run:
    """What came of a run: answers, seconds in all, and each answer's seconds."""

    seconds: float
    latencies: Sequence[float]

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    @property
    def median(self) -> float:
        """Seconds from a request to its answer."""
        return median(self.latencies)


async def run(callers: Sequence[Caller], requests: int, *, clients: int | None = None) -> Run:
    """Let the clients share so many requests, each with one under way at a time.

    Each caller is a client; with `clients` only so many are, and post for all callers in turn.
    AssertionError if an answer has another status.
    """
    latencies: list[float] = []
    left = requests
    turns = cycle(callers)
    owns = [repeat(caller) for caller in callers] if clients is None else [turns] * clients

    async def call(client: aiohttp.ClientSession, own: Iterator[Caller]) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            caller = next(own)
            began = time.perf_counter()
            async with client.post(caller.url, json=caller.body, headers=caller.headers) as answer:
                text = await answer.read()
                assert answer.status == caller.status, (answer.status, text)
            latencies.append(time.perf_counter() - began)

    connector = aiohttp.TCPConnector(limit=len(owns))
    async with aiohttp.ClientSession(connector=connector) as client:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for own in owns:
                group.create_task(call(client, own))
        return Run(time.perf_counter() - began, latencies)


async def post_at_pace(callers: Sequence[Caller], per_second: float) -> NoReturn:
    """Let the callers post in turn, so many a second in all, until cancelled.

    A post that is due while others are slow is made all the same. AssertionError as `run`.
    """

    async def post(client: aiohttp.ClientSession, caller: Caller) -> None:
        async with client.post(caller.url, json=caller.body, headers=caller.headers) as answer:
            text = await answer.read()
            assert answer.status == caller.status, (answer.status, text)

    loop = asyncio.get_running_loop()
    began = loop.time()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as client, asyncio.TaskGroup() as group:
        for number, caller in enumerate(cycle(callers)):
            await asyncio.sleep(began + number / per_second - loop.time())
            group.create_task(post(client, caller))
    raise AssertionError("unreachable")


class Processor:
    """How much processor time processes use, with their children; by the name of each."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before = self._now()

    def since(self) -> dict[str, float]:
        """Seconds since this was made."""
        now = self._now()
        return {name: now[name] - self._before[name] for name in now}

    def _now(self) -> dict[str, float]:
        return {name: _seconds(pid) for name, pid in self._pids.items()}


def _seconds(pid: int) -> float:
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            used = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system
    return total
