"""The one retry policy for calls to Postgres and RabbitMQ.

Hot paths and reconnecting links keep their own loops.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import asyncpg
import stamina
import structlog
from prometheus_client import Counter
from stamina.instrumentation import set_on_retry_hooks

from wa_runtime.postgres import is_unavailable

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
NOT_READY = (
    OSError,
    asyncpg.OperatorInterventionError,  # starting up, shutting down, in recovery
    asyncpg.PostgresConnectionError,  # closed during the handshake
    asyncpg.TooManyConnectionsError,
)
"""A wrong password, an unknown database and a malformed URL are not waited for."""

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
    within: float | None = None,
) -> T:
    """Await `call()` until it succeeds; return its result.

    Retries errors that match `on` (types, or a predicate) with exponential back-off and jitter, at
    most `within` seconds. Cancellation and other errors pass through. Logs `event` at the first
    failure and `available_again` at the success after it. Counts retries in `RETRIES`, labelled
    with `operation`.

    Raises:
        TimeoutError: no success within that time; the text names the last error.
    """
    last: Exception | None = None

    def is_retried(error: Exception) -> bool:
        nonlocal last
        retried = isinstance(error, on) if isinstance(on, tuple) else on(error)
        if not retried:
            return False
        if last is None:
            log.warning(event, operation=operation, reason=repr(error))
        last = error
        RETRIES.labels(operation).inc()
        return True

    attempts = stamina.retry_context(
        is_retried,
        attempts=None,
        timeout=None,
        wait_initial=FIRST_PAUSE_SECONDS,
        wait_max=LONGEST_PAUSE_SECONDS,
        wait_jitter=FIRST_PAUSE_SECONDS,
    )
    patience = asyncio.timeout(within)
    try:
        async with patience:
            async for attempt in attempts.with_name(operation, (), {}):
                with attempt:
                    result = await call()
                    break
    except TimeoutError as error:
        if not patience.expired():
            raise
        reason = "no answer" if last is None else str(last) or type(last).__name__
        raise TimeoutError(f"{operation}: not available within {within:g} s: {reason}") from error
    if last is not None:
        log.info("available_again", operation=operation)
    return result


async def connect_when_ready(
    url: str, operation: str, *, within: float = PATIENCE_SECONDS
) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect once the server accepts connections. Logs the wait.

    Raises:
        TimeoutError: The server is not ready within that time; the text names its last answer.
        asyncpg.PostgresError: The server refuses this user or database.
    """
    return await until_available(
        operation,
        lambda: asyncpg.connect(url, timeout=CONNECT_SECONDS),
        on=NOT_READY,
        within=within,
    )
