"""Gathers events of all partitions into bundles for the projector and for running rebuilds."""

import asyncio
from contextvars import Context

from wa_contracts.internal.bundle import BUNDLE, BUNDLE_BYTES, BUNDLE_EVENTS, frame_bundle
from wa_contracts.topology import BUNDLES
from wa_runtime.channel_writer import ChannelWriter, Confirm, durable

GATHER_SECONDS = 0.05
"""Interval of bundles that are not full. A bundle's cost hardly depends on its size."""


class Bundler:
    """Bundles of one channel, in the order of `add`."""

    def __init__(self, writer: ChannelWriter) -> None:
        self.writer = writer
        self._events: list[tuple[int, bytes, str | None]] = []
        self._bytes = 0
        self._confirm: Confirm | None = None
        self._published_at = 0.0

    def add(self, predecessor: int, event: bytes, traceparent: str | None) -> Confirm:
        """Add a framed event to the next bundle, published within GATHER_SECONDS.

        All events of a bundle share the returned future. It raises as ChannelWriter.publish.
        """
        if self._confirm is None:
            loop = asyncio.get_running_loop()
            self._confirm = loop.create_future()
            loop.call_at(
                self._published_at + GATHER_SECONDS,
                self._flush,
                self._confirm,
                context=Context(),  # in no event's trace
            )
        confirm = self._confirm
        self._events.append((predecessor, event, traceparent))
        self._bytes += len(event)
        if len(self._events) == BUNDLE_EVENTS or self._bytes >= BUNDLE_BYTES:
            self._flush(confirm)
        return confirm

    def _flush(self, confirm: Confirm) -> None:
        if confirm is not self._confirm:
            return  # the bundle was full earlier
        body = frame_bundle(self._events)
        self._events, self._bytes, self._confirm = [], 0, None
        self._published_at = asyncio.get_running_loop().time()
        published = self.writer.publish(body, durable(BUNDLE), exchange=BUNDLES, key="")
        published.add_done_callback(lambda _: _pass_on(published, confirm))


def _pass_on(ended: Confirm, to: Confirm) -> None:
    error = ended.exception()
    if error is None:
        to.set_result(None)
    else:
        to.set_exception(error)
        to.exception()  # a waiting relay may be gone
