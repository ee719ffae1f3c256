"""`/readyz`, open to anybody, costs the broker one question every few seconds."""

import asyncio
from types import SimpleNamespace
from typing import Any, Self

from tests.unit.host.interleaving.virtual_time import run
from wa_api.serving.health import ANSWER_SECONDS, KEPT_SECONDS, ProjectorBacklog
from wa_runtime.connection_loss import BrokerConnectionLost


class Link:
    """Opens channels, each of which answers after `seconds`, or none."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.is_away = False
        self.opened = 0
        self.closed = 0

    async def open_channel(self) -> "Link":
        """One more."""
        if self.is_away:
            raise BrokerConnectionLost("away")
        self.opened += 1
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed += 1

    async def declare_queue(self, _: str, *, passive: bool) -> Any:
        """Seven bundles wait."""
        assert passive
        await asyncio.sleep(self.seconds)
        return SimpleNamespace(declaration_result=SimpleNamespace(message_count=7))


def test_many_requests_are_one_question() -> None:
    async def asked() -> None:
        link: Any = Link(seconds=0.1)
        backlog = ProjectorBacklog(link)
        assert await asyncio.gather(*(backlog.count() for _ in range(50))) == [7] * 50
        assert (link.opened, link.closed) == (1, 1)
        await asyncio.sleep(KEPT_SECONDS)
        assert await backlog.count() == 7
        assert link.opened == 2

    run(asked())


def test_a_broker_that_does_not_answer_is_unknown_and_costs_its_own_channel_only() -> None:
    async def silent() -> None:
        link: Any = Link(seconds=ANSWER_SECONDS + 1)
        backlog = ProjectorBacklog(link)
        assert await backlog.count() is None
        assert (link.opened, link.closed) == (1, 1)
        link.is_away = True
        await asyncio.sleep(KEPT_SECONDS)
        assert await backlog.count() is None

    run(silent())
