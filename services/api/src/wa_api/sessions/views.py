"""Look-ups of sessions: reads of the projections, the same for clients and for the page."""

from typing import Annotated
from uuid import UUID

import asyncpg
from pydantic import Field

from wa_api.database.pool import Database
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_api.owners.liveness import HostLiveness
from wa_contracts.session_events import DesiredState, SessionStatus
from wa_contracts.wire import UtcDatetime

HOST_SILENT = "host_silent"


def _is_none(value: object) -> bool:
    return value is None


class Pacing(View):
    """How fast a session may send. Days are those of UTC; `next_send_at` is None if it may now."""

    per_minute: float | None
    per_day: int | None
    sent_today: int
    next_send_at: UtcDatetime | None


class Session(View):
    """A session. `connected_at` is the start of the present working period, or None.

    `pacing` is left out where its sends are not limited.
    """

    session_id: UUID
    name: str | None
    phone_number: str | None
    status: SessionStatus
    status_reason: str | None
    desired_state: DesiredState
    connected_at: UtcDatetime | None
    created_at: UtcDatetime
    last_error: str | None
    pacing: Annotated[Pacing | None, Field(exclude_if=_is_none)] = None


class SessionWithToken(Session):
    """A session with its token: only from create, rotate and show."""

    token: str


class QRCode(View):
    """A QR code's text and the time until which it can be scanned."""

    qr: str
    expires_at: UtcDatetime


class SessionViews:
    """Reads of sessions. Every method raises DatabaseUnavailable.

    A session that the projection calls working is shown so only while its host gives signs of life.
    """

    def __init__(self, database: Database, liveness: HostLiveness) -> None:
        self._database = database
        self._liveness = liveness

    async def session(self, session_id: UUID) -> Session | None:
        """One session."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SESSION, self._liveness.live_partitions(), session_id)
        return self._session(row) if row else None

    async def sessions(
        self, status: SessionStatus | None, after: Place | None, limit: int
    ) -> Page[Session]:
        """Sessions, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SESSIONS,
                self._liveness.live_partitions(),
                status,
                after and after.created_at,
                after and after.id,
                limit + 1,
            )
        return page_of(
            rows, limit, self._session, lambda one: Place(one.created_at, one.session_id)
        )

    def _session(self, row: asyncpg.Record) -> Session:
        pace = self._liveness.pace_of(row["session_id"])
        pacing = None if pace is None else Pacing(**pace.model_dump(by_alias=False))
        return Session.model_validate({**row, "pacing": pacing})

    async def qr_code(self, session_id: UUID) -> QRCode | None:
        """The code to scan now, or None if there is none or it ran out."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_QR, session_id)
        return QRCode(qr=row["qr"], expires_at=row["qr_expires_at"]) if row else None


SHOWN_SESSIONS = f"""
    SELECT session_id, name, phone_number, desired_state, created_at, last_error,
           CASE WHEN silent THEN 'disconnected' ELSE status END AS status,
           CASE WHEN silent THEN '{HOST_SILENT}' ELSE status_reason END AS status_reason,
           CASE WHEN silent THEN NULL ELSE connected_at END AS connected_at
    FROM (SELECT *, status = 'working' AND NOT partition = ANY($1::int[]) AS silent
          FROM sessions) AS heard
"""
_SESSION = f"SELECT * FROM ({SHOWN_SESSIONS}) AS shown WHERE session_id = $2"
_SESSIONS = f"""
    SELECT * FROM ({SHOWN_SESSIONS}) AS shown
    WHERE ($2::text IS NULL OR status = $2)
      AND ($3::timestamptz IS NULL OR (created_at, session_id) < ($3, $4::uuid))
    ORDER BY created_at DESC, session_id DESC LIMIT $5
"""
_QR = """
    SELECT qr, qr_expires_at FROM sessions
    WHERE session_id = $1 AND qr IS NOT NULL AND qr_expires_at > now()
"""
