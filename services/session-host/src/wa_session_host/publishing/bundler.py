"""Gathers events of all partitions into bundles for the projector and for running rebuilds."""

import asyncio
from contextvars import Context

from wa_contracts.internal.bundle import BUNDLE, BUNDLE_BYTES, BUNDLE_EVENTS, frame_bundle
from wa_contracts.topology import BUNDLES
from wa_runtime.channel_writer import ChannelWriter, Confirm, durable

GATHER_SECONDS = 0.05
"""From one bundle to the next, unless it is full before: what one costs hardly depends on its size."""


class Bundler:
    """The bundles of one channel, in the order in which their events came."""

    def __init__(self, writer: ChannelWriter) -> None:
        """`writer` is the channel's."""
        self.writer = writer
        self._events: list[tuple[int, bytes, str | None]] = []
        self._bytes = 0
        self._confirm: Confirm | None = None
        self._published_at = 0.0

    def add(self, predecessor: int, event: bytes, traceparent: str | None) -> Confirm:
        """Publish this event, framed already, with what else comes meanwhile: soon, or at once.

        The future is shared by all events of the bundle; it raises as ChannelWriter's.
        """
        if self._confirm is None:
            loop = asyncio.get_running_loop()
            self._confirm = loop.create_future()
            loop.call_at(
                self._published_at + GATHER_SECONDS,
                self._flush,
                self._confirm,
                context=Context(),  # no event's own trace
            )
        confirm = self._confirm
        self._events.append((predecessor, event, traceparent))
        self._bytes += len(event)
        if len(self._events) == BUNDLE_EVENTS or self._bytes >= BUNDLE_BYTES:
            self._flush(confirm)
        return confirm

    def _flush(self, confirm: Confirm) -> None:
        if confirm is not self._confirm:
            return  # it was full before
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
        to.exception()  # a relay that waited for it may be gone
