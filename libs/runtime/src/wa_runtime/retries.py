"""The one retry policy for calls to Postgres and RabbitMQ.

Hot paths and reconnecting links keep their own loops.
"""

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import TypeAlias, TypeVar

import stamina
import structlog
from stamina.instrumentation import PrometheusOnRetryHook, set_on_retry_hooks

from wa_runtime.postgres import is_unavailable

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0

T = TypeVar("T")
Unavailable: TypeAlias = tuple[type[Exception], ...] | Callable[[Exception], bool]

# stamina would log each retry; an outage is logged at its begin and its end.
set_on_retry_hooks((PrometheusOnRetryHook,) if find_spec("prometheus_client") else ())


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
    Counts retries in `stamina_retries_total`, labelled with `operation`.
    """
    failed = False

    def is_retried(error: Exception) -> bool:
        nonlocal failed
        retried = isinstance(error, on) if isinstance(on, tuple) else on(error)
        if retried and not failed:
            log.warning(event, operation=operation, reason=repr(error))
            failed = True
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
