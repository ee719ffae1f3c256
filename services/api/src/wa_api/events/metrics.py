"""Metrics of the event feed."""

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from wa_api.events.feed import Feed


class FeedMetrics(Collector):
    """Counts feed reads. Reads grow with notifications, not with readers."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def collect(self) -> list[Metric]:
        text = "Reads of the feed for event streams"
        return [CounterMetricFamily("wa_api_feed_reads", text, value=self._feed.reads)]
