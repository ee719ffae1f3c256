"""The delivering process: leads or stands by; follows the feed and has a courier for each endpoint."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NoReturn
from uuid import UUID

import asyncpg
import structlog

from wa_api.database.pool import AWAY, DatabaseUnavailable
from wa_api.webhooks.delivering.backlog import LaneWaiting
from wa_api.webhooks.delivering.cleanup import Upkeep
from wa_api.webhooks.delivering.endpoint_worker import Courier, Road
from wa_api.webhooks.delivering.fan_out import FanOut
from wa_api.webhooks.delivering.leadership import Lead, LeadLost, leading

log = structlog.get_logger()

RETRY_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""The feed is read so often even if nothing rings."""
RECOUNT_SECONDS = 60.0

_AWAY = (DatabaseUnavailable, LeadLost, *AWAY, asyncpg.PostgresError)


class Dispatcher:
    """`run` does the work; everything that it knows is read anew with each lead."""

    def __init__(self, *, url: str, fan_out: FanOut, road: Road, upkeep: Upkeep) -> None:
        """`url` is the database's, for the connection that leads."""
        self._url = url
        self._fan_out = fan_out
        self._road = road
        self._upkeep = upkeep

    async def run(self) -> NoReturn:
        """Deliver whenever nobody else does, until cancelled."""
        while True:
            try:
                async with leading(self._url) as lead:
                    log.info("webhooks_led")
                    await _Reign(lead, self._fan_out, self._road, self._upkeep).run()
            except* _AWAY as errors:
                log.warning("webhooks_not_led", reason=repr(_first(errors)))
            self._road.metrics.delivering.set(0)
            await asyncio.sleep(RETRY_SECONDS)


class _Reign:
    """From the moment at which a process leads to the end of that."""

    def __init__(self, lead: Lead, fan_out: FanOut, road: Road, upkeep: Upkeep) -> None:
        self._lead = lead
        self._fan_out = fan_out
        self._road = road
        self._upkeep = upkeep
        self._couriers: dict[UUID, Courier] = {}
        self._tasks: dict[UUID, asyncio.Task[NoReturn]] = {}

    async def run(self) -> NoReturn:
        self._show()
        try:
            await self._road.backlog.understand_patterns()
            async with asyncio.TaskGroup() as group:
                waiting = await self._waiting()
                for endpoint_id in await self._road.backlog.targets():
                    await self._renew(group, endpoint_id, waiting[endpoint_id])
                group.create_task(self._follow_changes(group))
                group.create_task(self._recount())
                group.create_task(self._upkeep.run())
                await self._follow_feed()
        finally:
            self._couriers.clear()
        raise AssertionError("unreachable")

    def _show(self) -> None:
        """In metrics, which are read from another thread."""

        def total(of: Callable[[Courier], int]) -> Callable[[], float]:
            return lambda: float(sum(map(of, list(self._couriers.values()))))

        metrics = self._road.metrics
        metrics.delivering.set(1)
        metrics.backlog.set_function(total(lambda courier: courier.waiting))
        metrics.paused_endpoints.set_function(total(lambda courier: courier.target.is_paused))
        metrics.failing_endpoints.set_function(total(lambda courier: courier.target.is_failing))

    async def _follow_feed(self) -> NoReturn:
        while True:
            self._lead.feed.clear()
            more = True
            while more:
                waiting = {e: c.waiting for e, c in self._couriers.items() if c.waiting}
                step = await self._fan_out.step(waiting)
                self._road.metrics.deliveries.labels("given_up").inc(step.refused)
                for made in step.made:
                    if courier := self._couriers.get(made.endpoint_id):
                        courier.made(made.lane)
                    else:  # it was created a moment ago
                        self._lead.changed.put_nowait(made.endpoint_id)
                more = step.more
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._lead.feed.wait()
            except TimeoutError:
                continue

    async def _follow_changes(self, group: asyncio.TaskGroup) -> NoReturn:
        while True:
            endpoint_id = await self._lead.changed.get()
            await self._renew(group, endpoint_id, await self._road.backlog.lanes(endpoint_id))

    async def _renew(
        self, group: asyncio.TaskGroup, endpoint_id: UUID, found: Sequence[LaneWaiting]
    ) -> None:
        target = await self._road.backlog.target(endpoint_id)
        courier = self._couriers.get(endpoint_id)
        if target is None:
            if courier is not None:
                del self._couriers[endpoint_id]
                self._tasks.pop(endpoint_id).cancel()
        elif courier is not None:
            courier.change(target, found)
        else:
            courier = self._couriers[endpoint_id] = Courier(target, self._road)
            courier.load(found)
            self._tasks[endpoint_id] = group.create_task(courier.run())

    async def _recount(self) -> NoReturn:
        """What is counted beside deliveries that end meanwhile may be out by a few, for so long."""
        while True:
            await asyncio.sleep(RECOUNT_SECONDS)
            waiting = await self._waiting()
            for endpoint_id, courier in self._couriers.items():
                courier.load(waiting[endpoint_id])

    async def _waiting(self) -> defaultdict[UUID, list[LaneWaiting]]:
        found = defaultdict(list)
        for lane in await self._road.backlog.lanes():
            found[lane.endpoint_id].append(lane)
        return found


def _first(error: BaseException) -> BaseException:
    """The first error of a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
