"""Linked sessions by the thousand, stored as their hosts and the projector would have left them."""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from deploy.servers.databases import Databases
from tests.deadlines import eventually
from tests.system.ring import Ring
from wa_api.access.credentials import PREFIX
from wa_contracts.ids import SessionId, new_id, session_stream
from wa_contracts.session_events import SessionConnected, SessionConnecting, SessionCreated
from wa_contracts.topology import partition_of
from wa_session_host.domain.session import SessionLinked

RELAYED = """
UPDATE partitions SET relayed_position = (SELECT max(position) FROM events),
                      open_position = (SELECT max(position) FROM events)
"""
WORKING = "SELECT count(*) FROM sessions WHERE status = 'working' AND connected_at > $1"
START_SECONDS = 300
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class StoredSession:
    """A session, and the token that sends through it."""

    id: SessionId
    token: str
    number: str

    @property
    def jid(self) -> str:
        """Its device at WhatsApp."""
        return f"{self.number}:1@s.whatsapp.net"


async def store_sessions(databases: Databases, number: int) -> Sequence[StoredSession]:
    """Store so many that work, to begin with on nobody's host; all of them relayed and projected."""
    now = datetime.now(UTC)
    sessions = [
        StoredSession(SessionId(new_id()), PREFIX + secrets.token_urlsafe(32), str(10**10 + n))
        for n in range(number)
    ]
    host = await asyncpg.connect(databases.session_host, command_timeout=300)
    try:
        await _copy(host, "events", [row for one in sessions for row in _events(one, now)])
        await host.execute(RELAYED)
        await host.execute("ANALYZE events")
    finally:
        await host.close()
    api = await asyncpg.connect(databases.api, command_timeout=300)
    try:
        await _copy(api, "sessions", [_session(one, now) for one in sessions])
        await _copy(api, "checkpoints", [_checkpoint(one) for one in sessions])
        await _copy(api, "credentials", [_credentials(one) for one in sessions])
        await api.execute("ANALYZE")
    finally:
        await api.close()
    return sessions


async def start_host(ring: Ring, sessions: int) -> str:
    """Start a host, wait until all of so many stored sessions work; its name."""
    began_at = datetime.now(UTC)
    host = f"host-{await ring.add_host()}"
    await all_work(ring, sessions, began_at)
    return host


async def all_work(ring: Ring, sessions: int, since: datetime) -> None:
    """Wait until all work again, as look-ups and the dashboard show it."""
    connection = await asyncpg.connect(ring.databases.api)
    try:

        async def reached() -> bool:
            return bool(await connection.fetchval(WORKING, since) == sessions)

        what = f"{sessions:,} sessions work"
        await eventually(reached, within=START_SECONDS, every=LOOK_SECONDS, what=what)
    finally:
        await connection.close()


async def _copy(
    connection: "asyncpg.Connection[asyncpg.Record]", table: str, rows: Sequence[dict[str, Any]]
) -> None:
    await connection.copy_records_to_table(
        table, columns=list(rows[0]), records=[tuple(row.values()) for row in rows]
    )


def _events(one: StoredSession, now: datetime) -> Iterator[dict[str, Any]]:
    linked = SessionLinked(jid=one.jid, phone_number=one.number)
    for version, (sequence, event) in enumerate(
        (
            (1, SessionCreated(name=one.number)),
            (None, linked),
            (2, SessionConnecting(phone_number=one.number, reason="linked")),
            (3, SessionConnected(phone_number=one.number, connected_at=now)),
        ),
        start=1,
    ):
        yield {
            "partition": partition_of(one.id),
            "session_id": one.id,
            "session_sequence": sequence,
            "stream": session_stream(one.id),
            "stream_version": version,
            "id": new_id(),
            "type": event.TYPE,
            "version": event.VERSION,
            "occurred_at": now,
            "correlation_id": one.id,
            "causation_id": one.id,
            "data": event.model_dump_json(),
        }


def _session(one: StoredSession, now: datetime) -> dict[str, Any]:
    return {
        "session_id": one.id,
        "partition": partition_of(one.id),
        "name": one.number,
        "phone_number": one.number,
        "status": "working",
        "desired_state": "running",
        "connected_at": now,
        "created_at": now,
    }


def _checkpoint(one: StoredSession) -> dict[str, Any]:
    return {"session_id": one.id, "applied_sequence": 3, "seen_sequence": 3}


def _credentials(one: StoredSession) -> dict[str, Any]:
    """No process shows the token of one: what is sealed there is nothing."""
    digest = hashlib.sha256(one.token.encode()).digest()
    return {"session_id": one.id, "token_hash": digest, "token_cipher": b""}
