"""Metrics of the event feed."""

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from wa_api.events.feed import Feed


class FeedMetrics(Collector):
    """How often the feed was read for those who follow events; notifications, not readers, count."""

    def __init__(self, feed: Feed) -> None:
        """`feed` counts its reads."""
        self._feed = feed

    def collect(self) -> list[Metric]:
        """The count now."""
        text = "Reads of the feed for event streams"
        return [CounterMetricFamily("wa_api_feed_reads", text, value=self._feed.reads)]
