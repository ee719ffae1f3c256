"""The delivering process: leader or standby; reads the feed and runs a worker per endpoint."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NoReturn
from uuid import UUID

import structlog

from wa_api.database.pool import DatabaseUnavailable
from wa_api.webhooks.delivering.backlog import QueueBacklog
from wa_api.webhooks.delivering.cleanup import Cleanup
from wa_api.webhooks.delivering.endpoint_worker import DeliveryContext, EndpointWorker
from wa_api.webhooks.delivering.fan_out import FanOut
from wa_api.webhooks.delivering.leadership import Leadership, LeadershipLost, leading
from wa_runtime.postgres import DATABASE_ERRORS

log = structlog.get_logger()

RETRY_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""Longest time between two reads of the feed without a notification."""
RECOUNT_SECONDS = 60.0

_AWAY = (DatabaseUnavailable, LeadershipLost, *DATABASE_ERRORS)


class Dispatcher:
    """Delivers while leader. Each term as leader reloads all state."""

    def __init__(
        self, *, url: str, fan_out: FanOut, context: DeliveryContext, cleanup: Cleanup
    ) -> None:
        """`url` is the database URL for the leader's connection."""
        self._url = url
        self._fan_out = fan_out
        self._context = context
        self._cleanup = cleanup

    async def run(self) -> NoReturn:
        """Become leader and deliver, again and again, until cancelled."""
        while True:
            try:
                async with leading(self._url) as leadership:
                    log.info("webhooks_led")
                    await _LeaderTerm(leadership, self._fan_out, self._context, self._cleanup).run()
            except* _AWAY as errors:
                log.warning("webhooks_not_led", reason=repr(_first(errors)))
            self._context.metrics.delivering.set(0)
            await asyncio.sleep(RETRY_SECONDS)


class _LeaderTerm:
    def __init__(
        self, leadership: Leadership, fan_out: FanOut, context: DeliveryContext, cleanup: Cleanup
    ) -> None:
        self._leadership = leadership
        self._fan_out = fan_out
        self._context = context
        self._cleanup = cleanup
        self._workers: dict[UUID, EndpointWorker] = {}
        self._tasks: dict[UUID, asyncio.Task[NoReturn]] = {}

    async def run(self) -> NoReturn:
        self._export_metrics()
        try:
            await self._context.backlog.expand_patterns()
            async with asyncio.TaskGroup() as group:
                waiting = await self._load_backlogs()
                for endpoint_id in await self._context.backlog.targets():
                    await self._update_worker(group, endpoint_id, waiting[endpoint_id])
                group.create_task(self._follow_changes(group))
                group.create_task(self._recount())
                group.create_task(self._cleanup.run())
                await self._follow_feed()
        finally:
            self._workers.clear()
        raise AssertionError("unreachable")

    def _export_metrics(self) -> None:
        """Export metrics. Prometheus reads them from another thread."""

        def total(of: Callable[[EndpointWorker], int]) -> Callable[[], float]:
            return lambda: float(sum(map(of, list(self._workers.values()))))

        metrics = self._context.metrics
        metrics.delivering.set(1)
        metrics.backlog.set_function(total(lambda worker: worker.waiting))
        metrics.paused_endpoints.set_function(total(lambda worker: worker.target.is_paused))
        metrics.failing_endpoints.set_function(total(lambda worker: worker.target.is_failing))

    async def _follow_feed(self) -> NoReturn:
        while True:
            self._leadership.feed.clear()
            more = True
            while more:
                waiting = {e: w.waiting for e, w in self._workers.items() if w.waiting}
                step = await self._fan_out.step(waiting)
                self._context.metrics.deliveries.labels("given_up").inc(step.refused)
                for made in step.made:
                    if worker := self._workers.get(made.endpoint_id):
                        worker.add_delivery(made.queue)
                    else:  # a new endpoint
                        self._leadership.changed.put_nowait(made.endpoint_id)
                more = step.more
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._leadership.feed.wait()
            except TimeoutError:
                continue

    async def _follow_changes(self, group: asyncio.TaskGroup) -> NoReturn:
        while True:
            endpoint_id = await self._leadership.changed.get()
            await self._update_worker(
                group, endpoint_id, await self._context.backlog.queues(endpoint_id)
            )

    async def _update_worker(
        self, group: asyncio.TaskGroup, endpoint_id: UUID, found: Sequence[QueueBacklog]
    ) -> None:
        target = await self._context.backlog.target(endpoint_id)
        worker = self._workers.get(endpoint_id)
        if target is None:
            if worker is not None:
                del self._workers[endpoint_id]
                self._tasks.pop(endpoint_id).cancel()
        elif worker is not None:
            worker.update(target, found)
        else:
            worker = self._workers[endpoint_id] = EndpointWorker(target, self._context)
            worker.load(found)
            self._tasks[endpoint_id] = group.create_task(worker.run())

    async def _recount(self) -> NoReturn:
        """Correct counts that drifted while deliveries ended."""
        while True:
            await asyncio.sleep(RECOUNT_SECONDS)
            waiting = await self._load_backlogs()
            for endpoint_id, worker in self._workers.items():
                worker.load(waiting[endpoint_id])

    async def _load_backlogs(self) -> defaultdict[UUID, list[QueueBacklog]]:
        found = defaultdict(list)
        for queue in await self._context.backlog.queues():
            found[queue.endpoint_id].append(queue)
        return found


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
