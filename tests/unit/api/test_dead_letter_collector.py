"""A wave of dead letters does not fill the collector's memory."""

from typing import Any
from unittest.mock import AsyncMock, Mock

from prometheus_client import CollectorRegistry

from wa_api.dead_letters.collector import PREFETCH, DeadLetterCollector
from wa_api.projecting.metrics import ProjectorMetrics


async def test_the_broker_keeps_what_is_beyond_the_prefetch() -> None:
    channel, calls = AsyncMock(), Mock()
    calls.attach_mock(channel.set_qos, "set_qos")
    calls.attach_mock(channel.get_queue.return_value.consume, "consume")
    nothing: Any = Mock()
    collector = DeadLetterCollector(nothing, nothing, ProjectorMetrics(CollectorRegistry()))
    await collector.open(Mock(channel=channel))
    assert [call[0] for call in calls.mock_calls] == ["set_qos", "consume"]
    channel.set_qos.assert_awaited_once_with(prefetch_count=PREFETCH)
    assert 0 < PREFETCH <= 20
