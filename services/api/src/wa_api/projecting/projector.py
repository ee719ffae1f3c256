"""Consumes the events' queue and has them written, batch by batch; asks for what is missing."""

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
"""Messages: two batches even where bundles have ten events; of the largest bundles 25 MB, not read yet."""


class Projector:
    """One consumer of `wa.projector`. `open` is called with each new channel, `run` does the work."""

    def __init__(
        self, *, writer: ProjectionWriter, bus: CommandBus, metrics: ProjectorMetrics
    ) -> None:
        self._gaps = GapRequests(writer=writer, bus=bus, metrics=metrics, queue=PROJECTOR)
        self._intake = EventIntake(
            writer=writer, metrics=metrics, prefetch=PREFETCH, on_ahead=self._gaps.found
        )

    async def open(self, writer: ChannelWriter) -> None:
        """Consume on this channel; what an earlier one delivered comes again."""
        self._intake.forget()
        await writer.channel.set_qos(prefetch_count=PREFETCH)
        await consume(writer, PROJECTOR, self._intake.take)

    async def run(self) -> NoReturn:
        """Project until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gaps.run())
            await self._intake.run()
        raise AssertionError("unreachable")
