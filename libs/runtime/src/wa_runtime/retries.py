"""The one retry policy for calls to Postgres and RabbitMQ.

Hot paths and reconnecting links keep their own loops.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import stamina
import structlog
from prometheus_client import Counter
from stamina.instrumentation import set_on_retry_hooks

from wa_runtime.postgres import is_unavailable

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0

T = TypeVar("T")
Unavailable: TypeAlias = tuple[type[Exception], ...] | Callable[[Exception], bool]

RETRIES = Counter(
    "wa_retries_total",
    "Retries of calls to an unavailable database or broker",
    ["operation"],
    registry=None,
)
"""Each process registers it with its metrics. stamina's own counter has a label per attempt, which
grows without end in a long outage."""

# stamina would log each retry; an outage is logged at its begin and its end.
set_on_retry_hooks(())


async def until_available(
    operation: str,
    call: Callable[[], Awaitable[T]],
    *,
    on: Unavailable = is_unavailable,
    event: str = "waiting_for_database",
) -> T:
    """Await `call()` until it succeeds; return its result.

    Retries errors that match `on` (types, or a predicate) with exponential back-off and jitter,
    without a limit: bound the wait with `asyncio.timeout`. Cancellation and other errors pass
    through. Logs `event` at the first failure and `available_again` at the success after it.
    Counts retries in `RETRIES`, labelled with `operation`.
    """
    failed = False

    def is_retried(error: Exception) -> bool:
        nonlocal failed
        retried = isinstance(error, on) if isinstance(on, tuple) else on(error)
        if retried and not failed:
            log.warning(event, operation=operation, reason=repr(error))
            failed = True
        if retried:
            RETRIES.labels(operation).inc()
        return retried

    attempts = stamina.retry_context(
        is_retried,
        attempts=None,
        timeout=None,
        wait_initial=FIRST_PAUSE_SECONDS,
        wait_max=LONGEST_PAUSE_SECONDS,
        wait_jitter=FIRST_PAUSE_SECONDS,
    )
    async for attempt in attempts.with_name(operation, (), {}):
        with attempt:
            result = await call()
            break
    if failed:
        log.info("available_again", operation=operation)
    return result
