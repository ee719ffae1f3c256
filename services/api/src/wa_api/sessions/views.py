"""Session look-ups from the projections, shared by the HTTP API and the dashboard."""

from collections.abc import Collection
from typing import Annotated
from uuid import UUID

import asyncpg
from pydantic import Field

from wa_api.database.pool import Database
from wa_api.http.models import View
from wa_api.http.paging import Page, Place, page_of
from wa_api.owners.liveness import HostLiveness
from wa_contracts.session_events import (
    REACHOUT_TIMELOCK,
    DesiredState,
    SessionStatus,
    SessionUpdated,
)
from wa_contracts.session_options import Presence, Receive
from wa_contracts.wire import UtcDatetime

HOST_SILENT = "host_silent"
_OPTIONS = ("metadata", "receive", "proxy", "device_name", "presence", "keep_media")


def _is_none(value: object) -> bool:
    return value is None


class Pacing(View):
    """Limits of a session's sends. Days are UTC; `next_send_at` is None if a send may start now.

    `sent_today` is None while no host tells it.
    """

    per_minute: float | None
    per_day: int | None
    sent_today: int | None = None
    next_send_at: UtcDatetime | None = None


class Session(View):
    """A session. `connected_at` is when it last connected; None if it is not connected.

    `restricted_until` is when WhatsApp's restriction ends, if WhatsApp named a time; its kind is
    `status_reason`. `proxy` is without user and password. `pacing` is absent if the session's sends
    are not limited.
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
    restricted_until: UtcDatetime | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    receive: Receive = Receive()
    proxy: str | None = None
    device_name: str | None = None
    presence: Presence = Presence.UNAVAILABLE
    keep_media: bool = False
    pacing: Annotated[Pacing | None, Field(exclude_if=_is_none)] = None

    @property
    def is_logged_in(self) -> bool:
        """Whether WhatsApp can be asked: also while only first messages are restricted."""
        locked = self.status is SessionStatus.RESTRICTED and self.status_reason == REACHOUT_TIMELOCK
        return locked or self.status is SessionStatus.WORKING


class SessionWithToken(Session):
    """A session with its token. Returned by create, rotate and show only."""

    token: str


class QRCode(View):
    """The text of a QR code and when it expires."""

    qr: str
    expires_at: UtcDatetime


class SessionViews:
    """Session look-ups. Methods raise DatabaseUnavailable.

    A session is shown as working only while its host sends heartbeats.
    """

    def __init__(self, database: Database, liveness: HostLiveness) -> None:
        self._database = database
        self._liveness = liveness

    async def session(self, session_id: UUID) -> Session | None:
        """One session, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SESSION, self._liveness.live_partitions(), session_id)
        return self._session(row) if row else None

    async def sessions(
        self,
        status: SessionStatus | None,
        after: Place | None,
        limit: int,
        among: Collection[UUID] | None = None,
    ) -> Page[Session]:
        """Sessions, newest first: all, or those of `among`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SESSIONS,
                self._liveness.live_partitions(),
                status,
                after and after.created_at,
                after and after.id,
                limit + 1,
                None if among is None else list(among),
            )
        return page_of(
            rows, limit, self._session, lambda one: Place(one.created_at, one.session_id)
        )

    def _session(self, row: asyncpg.Record) -> Session:
        chosen = SessionUpdated.model_validate_json(row["options"] or "{}")
        pace = self._liveness.pace_of(row["session_id"]) or chosen.pacing
        pacing = None if pace is None else Pacing.model_validate(pace, from_attributes=True)
        options = {name: getattr(chosen, name) for name in _OPTIONS}
        return Session.model_validate({**row, **options, "pacing": pacing})

    async def qr_code(self, session_id: UUID) -> QRCode | None:
        """The current QR code; None if there is none or it expired."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_QR, session_id)
        return QRCode(qr=row["qr"], expires_at=row["qr_expires_at"]) if row else None


SHOWN_SESSIONS = f"""
    SELECT session_id, name, phone_number, desired_state, created_at, last_error, options,
           restricted_until,
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
      AND ($6::uuid[] IS NULL OR session_id = ANY($6))
    ORDER BY created_at DESC, session_id DESC LIMIT $5
"""
_QR = """
    SELECT qr, qr_expires_at FROM sessions
    WHERE session_id = $1 AND qr IS NOT NULL AND qr_expires_at > now()
"""
