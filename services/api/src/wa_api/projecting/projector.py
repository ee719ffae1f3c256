"""Consumes the projector's queue, writes the events, and requests replays for gaps."""

import asyncio
from typing import NoReturn

from wa_api.owners.command_bus import CommandBus
from wa_api.projecting.gap_requests import GapRequests
from wa_api.projecting.intake import EventIntake
from wa_api.projecting.metrics import ProjectorMetrics
from wa_api.projecting.writer import ProjectionWriter
from wa_contracts.topology import PROJECTOR
from wa_runtime.channel_writer import ChannelWriter
from wa_runtime.deliveries import consume

PREFETCH = 200
"""Messages. Two batches even for bundles of ten events; up to 25 MB of the largest bundles."""


class Projector:
    """Consumer of `wa.projector`. Call `open` with each new channel; `run` does the work."""

    def __init__(
        self, *, writer: ProjectionWriter, bus: CommandBus, metrics: ProjectorMetrics
    ) -> None:
        self._gaps = GapRequests(writer=writer, bus=bus, metrics=metrics, queue=PROJECTOR)
        self._intake = EventIntake(
            writer=writer, metrics=metrics, prefetch=PREFETCH, on_ahead=self._gaps.found
        )

    async def open(self, writer: ChannelWriter) -> None:
        """Consume on a new channel. The broker redelivers unacknowledged messages."""
        self._intake.forget()
        await writer.channel.set_qos(prefetch_count=PREFETCH)
        await consume(writer, PROJECTOR, self._intake.accept)

    async def run(self) -> NoReturn:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gaps.run())
            await self._intake.run()
        raise AssertionError("unreachable")
