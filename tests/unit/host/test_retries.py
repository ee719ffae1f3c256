"""The retry policy: waits for what is unavailable, fails at once for what is wrong."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from structlog.testing import capture_logs

from wa_runtime import retries
from wa_runtime.retries import RETRIES, until_available


class Flaky:
    """Raises the given errors one after the other, then returns its number of calls."""

    def __init__(self, *errors: Exception) -> None:
        self._errors: Iterator[Exception] = iter(errors)
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        for error in self._errors:
            raise error
        return self.calls


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_SECONDS", 0.0)


def counted(operation: str) -> float:
    return sum(
        sample.value
        for metric in RETRIES.collect()
        for sample in metric.samples
        if sample.name == "wa_retries_total" and sample.labels["operation"] == operation
    )


async def test_an_outage_is_logged_once_and_its_end_once_and_each_retry_is_counted() -> None:
    call = Flaky(OSError("refused"), asyncpg.InterfaceError("closed"), TimeoutError())
    with capture_logs() as logs:
        assert await until_available("outage", call) == 4
    assert logs == [
        {
            "event": "waiting_for_database",
            "log_level": "warning",
            "operation": "outage",
            "reason": "OSError('refused')",
        },
        {"event": "available_again", "log_level": "info", "operation": "outage"},
    ]
    assert counted("outage") == 3


async def test_a_success_says_nothing() -> None:
    with capture_logs() as logs:
        assert await until_available("success", Flaky()) == 1
    assert logs == []


async def test_an_error_that_another_try_does_not_mend_is_raised_at_once() -> None:
    call = Flaky(asyncpg.UniqueViolationError("duplicate"))
    with capture_logs() as logs, pytest.raises(asyncpg.UniqueViolationError):
        await until_available("wrong", call)
    assert call.calls == 1
    assert logs == []


async def test_a_predicate_may_decide_and_the_event_may_be_another() -> None:
    call = Flaky(ValueError("soon"), ValueError("never"))
    with capture_logs() as logs, pytest.raises(ValueError, match="never"):
        await until_available(
            "chosen", call, on=lambda error: str(error) == "soon", event="waiting_for_broker"
        )
    assert [entry["event"] for entry in logs] == ["waiting_for_broker"]


async def test_a_cancellation_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 60.0)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_SECONDS", 60.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await until_available("cancelled", Flaky(OSError()))
