"""Ownership of partitions: leases in Postgres, by its clock, with fencing tokens."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from wa_contracts.topology import PARTITIONS
from wa_runtime.postgres import KeptConnection
from wa_session_host.store.stored_event import FencingToken

MARGIN_SECONDS = 0.5
"""A host's deadline precedes the lease's expiry in Postgres by this margin."""

RENEW = """
WITH mine AS MATERIALIZED (
    SELECT partition FROM partitions
    WHERE host = $1 AND expires_at > clock_timestamp()
      AND (partition, fencing_token) IN (SELECT * FROM unnest($2::smallint[], $3::bigint[]))
    ORDER BY partition FOR NO KEY UPDATE
)
UPDATE partitions p SET expires_at = clock_timestamp() + make_interval(secs => $4)
FROM mine WHERE p.partition = mine.partition
RETURNING p.partition
"""
"""Every statement about several partitions locks their rows in the order of their numbers."""

REGISTER = """
WITH ended AS (DELETE FROM hosts WHERE expires_at < clock_timestamp() - interval '1 hour')
INSERT INTO hosts (host, expires_at)
VALUES ($1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (host) DO UPDATE SET expires_at = excluded.expires_at
"""

LIVING_HOSTS = """
SELECT count(*) AS hosts, clock_timestamp() AS now FROM hosts WHERE expires_at > clock_timestamp()
"""

CLAIM = """
WITH free AS (
    SELECT partition FROM partitions
    WHERE host IS NULL OR expires_at < clock_timestamp()
    ORDER BY random() LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE partitions p
SET host = $1, fencing_token = p.fencing_token + 1,
    expires_at = clock_timestamp() + make_interval(secs => $3)
FROM free WHERE p.partition = free.partition
RETURNING p.partition, p.fencing_token, p.relayed_position
"""

RELEASE = """
UPDATE partitions SET host = NULL, expires_at = '-infinity'
WHERE host = $1 AND partition = $2 AND fencing_token = $3
"""

DEREGISTER = "DELETE FROM hosts WHERE host = $1"


class DatabaseClock:
    """The database's time, extrapolated by the machine's monotonic clock.

    Expiry and `occurred_at` must not depend on the owning host. A machine's wall clock may be off
    by minutes; its monotonic clock is exact between two renewals.
    """

    def __init__(self) -> None:
        """The machine's wall clock until the first `set`."""
        self._set_at = time.monotonic()
        self._time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self._time + timedelta(seconds=time.monotonic() - self._set_at)

    def set(self, database_time: datetime, *, asked_at: float, answered_at: float) -> None:
        """Set the database's time, read between two monotonic times."""
        self._time = database_time
        self._set_at = (asked_at + answered_at) / 2


@dataclass(frozen=True)
class Claim:
    """A partition that this host now owns, with the former owner's relay checkpoint."""

    partition: int
    token: FencingToken
    relayed_position: int


@dataclass(frozen=True)
class Renewal:
    """Held partitions, the deadline (monotonic clock, seconds) and the fair share."""

    held: frozenset[int]
    deadline: float
    fair_share: int


class Leases:
    """The leases of one host, on a connection of their own: no other statement delays a renewal."""

    def __init__(
        self, connection: KeptConnection, host: str, lease_seconds: float, clock: DatabaseClock
    ) -> None:
        """Others take over `lease_seconds` after the last renewal. Each renewal sets `clock`.

        `connection` is used by nothing else, and closed by the caller.
        """
        self._connection = connection
        self._one_at_a_time = asyncio.Lock()
        self._clock = clock
        self._host = host
        self._lease_seconds = lease_seconds

    async def renew(self, held: Mapping[int, FencingToken], *, staying: bool = True) -> Renewal:
        """Renew all partitions in one statement. `staying` counts this host as living.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: the database is unavailable.
        """
        asked_at = time.monotonic()
        if staying:
            await self._fetch(REGISTER, self._host, self._lease_seconds)
        rows = await self._fetch(
            RENEW, self._host, list(held.keys()), list(held.values()), self._lease_seconds
        )
        read_at = time.monotonic()
        [living] = await self._fetch(LIVING_HOSTS)
        self._clock.set(living["now"], asked_at=read_at, answered_at=time.monotonic())
        return Renewal(
            held=frozenset(row["partition"] for row in rows),
            deadline=asked_at + self._lease_seconds - MARGIN_SECONDS,
            fair_share=-(-PARTITIONS // max(living["hosts"], 1)),
        )

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Claim up to `limit` free partitions."""
        rows = await self._fetch(CLAIM, self._host, limit, self._lease_seconds)
        return [
            Claim(row["partition"], FencingToken(row["fencing_token"]), row["relayed_position"])
            for row in rows
        ]

    async def release(self, partition: int, token: FencingToken) -> None:
        await self._fetch(RELEASE, self._host, partition, token)

    async def deregister(self) -> None:
        """Leave the count of living hosts, so that the others' fair share grows."""
        await self._fetch(DEREGISTER, self._host)

    async def _fetch(self, query: str, *arguments: Any) -> "list[asyncpg.Record]":
        async with self._one_at_a_time:
            return await self._connection.fetch(query, *arguments)
