"""The table of sessions with its overview."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from wa_api.dashboard.readings import (
    DashboardReadings,
    Outdated,
    SessionsPage,
    SessionsWanted,
)
from wa_api.database.notifications import Notifications
from wa_api.database.pool import DatabaseUnavailable
from wa_api.owners.command_bus import CommandBus
from wa_contracts.internal.heartbeat import HostEngine
from wa_contracts.session_events import SessionStatus


@dataclass(frozen=True)
class Overview:
    """State of the installation. Without the database most of it is unknown: None, or empty."""

    broker: bool
    database: bool
    hosts: Mapping[str, int] | None = None
    messages_a_minute: int | None = None
    engines: Sequence[HostEngine] = ()
    outdated: Outdated | None = None


class SessionTable:
    def __init__(
        self, readings: DashboardReadings, bus: CommandBus, notifications: Notifications
    ) -> None:
        self._readings = readings
        self._bus = bus
        self._notifications = notifications

    async def values(self, request: Request) -> dict[str, Any]:
        """The template's values, for the search, filter and page in the URL.

        Without the database, the page says so instead of showing an earlier state.
        """
        wanted = _wanted(request)
        broker = self._bus.is_available
        try:
            listing, overview = await self._notifications.unless_lost(self._read(wanted, broker))
        except DatabaseUnavailable:
            listing, overview = None, Overview(broker=broker, database=False)
        return {"listing": listing, "wanted": wanted, "overview": overview}

    async def _read(self, wanted: SessionsWanted, broker: bool) -> tuple[SessionsPage, Overview]:
        return await self._readings.sessions(wanted), Overview(
            broker=broker,
            database=True,
            hosts=await self._readings.sessions_by_host(),
            messages_a_minute=await self._readings.messages_a_minute(),
            engines=self._readings.engines(),
            outdated=await self._readings.outdated(),
        )


def _wanted(request: Request) -> SessionsWanted:
    """Search, filter and page in the URL. An invalid value counts as absent."""
    query = request.query_params
    page, status = query.get("page", "1"), query.get("status", "")
    return SessionsWanted(
        search=query.get("search", "")[:128].replace("\x00", ""),
        status=SessionStatus(status) if status in set(SessionStatus) else None,
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
    )
