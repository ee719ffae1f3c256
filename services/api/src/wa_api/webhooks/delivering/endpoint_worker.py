"""Delivers to one endpoint: in order per session, several sessions at a time."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID

import structlog

from wa_api.database.pool import DatabaseUnavailable
from wa_api.webhooks.delivering.attempt import Attempt
from wa_api.webhooks.delivering.backlog import Backlog, Delivery, QueueBacklog, Target
from wa_api.webhooks.delivering.http_attempt import EndpointConnection, HttpSender
from wa_api.webhooks.delivering.media_link import MediaLink, with_media_link
from wa_api.webhooks.delivering.metrics import WebhookMetrics
from wa_api.webhooks.delivering.ordered_queues import OrderedQueues
from wa_api.webhooks.delivering.retry_rule import (
    GivenUpReason,
    GiveUp,
    Next,
    Pause,
    RetryRule,
    TryAgain,
)
from wa_api.webhooks.delivering.signing import signed_headers

log = structlog.get_logger()

QUICK_SECONDS = 1.0
"""An endpoint that answers faster than this is quick."""
IN_A_ROW = 10
"""Deliveries of one queue before the slot is released."""
RECOVERED_AFTER = timedelta(minutes=1)
"""After an outage longer than this, a success makes all waiting deliveries due."""
DATABASE_SECONDS = 1.0


@dataclass(frozen=True)
class DeliveryContext:
    """Shared by all endpoint workers.

    Quick endpoints share `quick_slots`, slow ones `slow_slots`, so that slow or dead endpoints
    never delay quick ones. `at_once` is the number of sessions delivered at a time to a healthy
    endpoint.
    """

    backlog: Backlog
    sender: HttpSender
    rule: RetryRule
    metrics: WebhookMetrics
    quick_slots: asyncio.Semaphore
    slow_slots: asyncio.Semaphore
    at_once: int
    media_link: MediaLink


class EndpointWorker:
    """Delivers to one endpoint until cancelled. `waiting` is the number of waiting deliveries."""

    def __init__(self, target: Target, context: DeliveryContext) -> None:
        self.target = target
        self.waiting = 0
        self._context = context
        self._is_quick = target.failing_since is None
        self._queues = OrderedQueues()
        self._wake = asyncio.Event()

    def load(self, found: Sequence[QueueBacklog]) -> None:
        """Queue what waits in the table. A paused endpoint receives tests only."""
        self.waiting = sum(queue.waiting for queue in found)
        now, clock = datetime.now(UTC), time.monotonic()
        for queue in found:
            if self.target.accepts(is_test=queue.is_test):
                delay = (queue.next_try_at - now).total_seconds() if queue.next_try_at else 0.0
                self._queues.add(queue.queue, clock + max(0.0, delay))
        self._wake.set()

    def update(self, target: Target, found: Sequence[QueueBacklog]) -> None:
        """Apply a change of the endpoint, or pick up a test or redelivery."""
        starts_anew = (target.is_paused, target.url) != (self.target.is_paused, self.target.url)
        self.target = target
        self.load(found)
        if starts_anew:
            self._queues.make_due(time.monotonic())

    def add_delivery(self, queue: UUID) -> None:
        """Count a new delivery and queue it."""
        self.waiting += 1
        if not self.target.is_paused:
            self._queues.add(queue, time.monotonic())
            self._wake.set()

    async def run(self) -> NoReturn:
        """Deliver due events until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                at_once = 1 if self.target.failing_since else self._context.at_once
                is_free = self._queues.acquired < at_once
                queue = self._queues.acquire(time.monotonic()) if is_free else None
                if queue is not None:
                    group.create_task(self._work_on(queue))
                else:
                    await self._wait_until_due(self._queues.next_at if is_free else None)

    async def _wait_until_due(self, at: float | None) -> None:
        try:
            async with asyncio.timeout(None if at is None else max(0.0, at - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _work_on(self, queue: UUID) -> None:
        due_at: float | None = None
        try:
            async with self._slot():
                due_at = await self._deliver(queue)
        except DatabaseUnavailable as error:
            log.info("webhook_waits", reason=str(error))
            due_at = time.monotonic() + DATABASE_SECONDS
        self._queues.release(queue, due_at, time.monotonic())
        self._wake.set()

    def _slot(self) -> AbstractAsyncContextManager[None]:
        return self._context.quick_slots if self._is_quick else self._context.slow_slots

    async def _deliver(self, queue: UUID) -> float | None:
        """Deliver the next few; return when the queue is due again (monotonic), None if empty."""
        deliveries = await self._context.backlog.next(self.target.id, queue, IN_A_ROW)
        url = self.target.url
        async with self._context.sender.connection(url) as connection:
            for delivery in deliveries:
                if not self.target.accepts(is_test=delivery.is_test):
                    return None  # resuming the endpoint loads its queues again
                if self.target.url != url:
                    break
                retry_at = await self._send(connection, delivery)
                if retry_at is not None:
                    return time.monotonic() + (retry_at - datetime.now(UTC)).total_seconds()
        return time.monotonic() if deliveries else None

    async def _send(self, connection: EndpointConnection, delivery: Delivery) -> datetime | None:
        """Make one attempt; return the time of the retry, None if the delivery ended."""
        if delivery.body is None:
            await self._context.backlog.mark_expired(delivery)
            self._count_ended("given_up")
            return None
        body, now = delivery.body, datetime.now(UTC)
        if self.target.include_media:
            body = with_media_link(delivery.type, body, self._context.media_link)
        headers = signed_headers(
            webhook_id=delivery.event_id,
            at=now,
            body=body,
            secrets=self.target.secrets(now),
        )
        if delivery.metadata is not None:
            headers = {**headers, "wa-session-metadata": delivery.metadata}
        headers = {**self.target.headers, **headers}
        attempt = await connection.post(body, headers)
        self._is_quick = attempt.error is None and attempt.seconds < QUICK_SECONDS
        result = "failed" if attempt.error else "succeeded"
        self._context.metrics.attempts.labels(result).observe(attempt.seconds)
        if attempt.error is None:
            await self._succeeded(delivery, attempt)
            return None
        return await self._failed(delivery, attempt)

    async def _succeeded(self, delivery: Delivery, attempt: Attempt) -> None:
        now, since = datetime.now(UTC), self.target.failing_since
        await self._context.backlog.mark_delivered(delivery, attempt, now)
        self._count_ended("delivered")
        if since is not None:
            await self._context.backlog.mark_recovered(self.target.id)
            self.target = replace(self.target, failing_since=None)
            if now - since > RECOVERED_AFTER:
                self._queues.make_due(time.monotonic())

    async def _failed(self, delivery: Delivery, attempt: Attempt) -> datetime | None:
        now = datetime.now(UTC)
        since = self.target.failing_since or now
        after = self._decide(delivery, attempt, now, since)
        given_up = after.reason if isinstance(after, GiveUp) else None
        next_try_at = after.at if isinstance(after, TryAgain) else None
        await self._context.backlog.mark_failed(
            delivery, attempt, now, next_try_at=next_try_at, given_up=given_up
        )
        self.target = replace(self.target, failing_since=since)
        if given_up:
            self._count_ended("given_up")
        if isinstance(after, Pause):
            await self._context.backlog.pause(self.target.id, after.reason)
            self.target = replace(self.target, is_paused=True)
        return next_try_at

    def _decide(self, delivery: Delivery, attempt: Attempt, now: datetime, since: datetime) -> Next:
        if delivery.is_test:
            return GiveUp(GivenUpReason.TEST_FAILED)
        return self._context.rule.after(
            attempt,
            now=now,
            tried_since=delivery.first_tried_at or now,
            failing_since=since,
            chance=random.random(),  # noqa: S311 - spreads retries, keeps no secret
        )

    def _count_ended(self, outcome: str) -> None:
        self.waiting -= 1
        self._context.metrics.deliveries.labels(outcome).inc()
