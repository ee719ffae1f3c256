"""REST clients of the soak: they send, and try again with the same key until they know."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Any

import httpx

from tests.system.ring import Ring

AGAIN = {429, 503}
"""After a 202 the message is durable: what became of it is read at the end."""
ANSWER_SECONDS = 40


@dataclass
class Sent:
    """One message that a client wanted sent, from when to when (wall clock), and every answer."""

    session: str
    key: str
    began: float = 0.0
    ended: float = 0.0
    statuses: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether the gateway ever said that it has the message."""
        return any(status in {200, 202} for status in self.statuses)

    @property
    def id(self) -> str | None:
        """Our id of the message, once an answer carried one."""
        return next((body["id"] for body in self.bodies if body.get("id")), None)

    @property
    def acknowledged_as(self) -> str | None:
        """WhatsApp's id from a 200."""
        return next((b["messageId"] for s, b in self._answers if s == 200), None)

    @property
    def _answers(self) -> list[tuple[int, dict[str, Any]]]:
        return list(zip(self.statuses, self.bodies, strict=True))


class Clients:
    """Many at once, over all sessions and apis."""

    def __init__(self, ring: Ring, sessions: list[dict[str, Any]], seed: int) -> None:
        self._ring = ring
        self._sessions = sessions
        self._random = random.Random(seed)
        self.sent: list[Sent] = []

    async def send_while(self, wanted: Callable[[int], bool], at_once: int) -> None:
        """Send while that says so of how many were begun, `at_once` in flight."""
        numbers: Iterator[int] = takewhile(wanted, count())
        await self._send(numbers, at_once)

    async def send_until(self, ends: asyncio.Event, at_once: int) -> None:
        """Send until `ends` is set, `at_once` in flight."""
        await self._send(iter(ends.is_set, True), at_once)

    async def _send(self, turns: Iterator[object], at_once: int) -> None:
        async def work() -> None:
            for _ in turns:
                number = len(self.sent)
                session = self._sessions[number % len(self._sessions)]
                sent = Sent(session["sessionId"], f"message-{number}", time.time())
                self.sent.append(sent)
                await self._until_known(client, session["token"], sent)
                sent.ended = time.time()

        # One for all: to make one takes long, and whatever is proxied in this process waits for that.
        limits = httpx.Limits(max_connections=at_once)
        async with (
            httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False, limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(at_once):
                group.create_task(work())

    async def _until_known(self, client: httpx.AsyncClient, token: str, sent: Sent) -> None:
        while not sent.statuses or sent.statuses[-1] in AGAIN:
            try:
                answer = await client.post(
                    f"{self._ring.url(0)}/api/messages/send",
                    headers={"Authorization": f"Bearer {token}", "Idempotency-Key": sent.key},
                    json={"to": "919876543210", "type": "text", "message": sent.key},
                )
            except httpx.HTTPError:
                await asyncio.sleep(self._random.uniform(0.05, 0.3))
                continue
            sent.statuses.append(answer.status_code)
            sent.bodies.append(answer.json())
            if answer.status_code in {429, 503}:
                await asyncio.sleep(self._random.uniform(0.1, 0.5))
