"""Who owns a partition, on a real Postgres."""

import time
from datetime import timedelta

import asyncpg

from tests.integration.host.conftest import NewLeases
from wa_contracts.topology import PARTITIONS
from wa_session_host.store.leases import DatabaseClock, Leases


async def test_a_single_host_claims_everything(leases: Leases) -> None:
    renewal = await leases.renew({})
    assert renewal.fair_share == PARTITIONS
    claims = await leases.claim(PARTITIONS)
    assert {claim.partition for claim in claims} == set(range(PARTITIONS))
    assert all(claim.token == 1 for claim in claims)


async def test_two_hosts_never_own_the_same(leases: Leases, new_leases: NewLeases) -> None:
    other = new_leases("host-b")
    await leases.renew({})
    renewal = await other.renew({})
    assert renewal.fair_share == PARTITIONS // 2
    mine = await leases.claim(renewal.fair_share)
    theirs = await other.claim(PARTITIONS)
    assert {c.partition for c in mine} | {c.partition for c in theirs} == set(range(PARTITIONS))
    assert not {c.partition for c in mine} & {c.partition for c in theirs}


async def test_a_renewal_keeps_and_says_until_when(leases: Leases) -> None:
    claims = await leases.claim(3)
    before = time.monotonic()
    renewal = await leases.renew({claim.partition: claim.token for claim in claims})
    assert renewal.held == {claim.partition for claim in claims}
    assert before + 29 < renewal.deadline <= time.monotonic() + 30


async def test_a_lease_that_ran_out_is_lost_and_its_next_owner_has_a_higher_token(
    pool: "asyncpg.Pool[asyncpg.Record]", leases: Leases, new_leases: NewLeases
) -> None:
    claims = await leases.claim(PARTITIONS)
    await pool.execute("UPDATE partitions SET expires_at = clock_timestamp()")
    renewal = await leases.renew({claim.partition: claim.token for claim in claims})
    assert renewal.held == frozenset()
    other = new_leases("host-b")
    taken = await other.claim(PARTITIONS)
    assert len(taken) == PARTITIONS
    assert all(claim.token == 2 for claim in taken)


async def test_a_released_partition_is_free_at_once(leases: Leases, new_leases: NewLeases) -> None:
    (claim, *_) = await leases.claim(PARTITIONS)
    await leases.release(claim.partition, claim.token)
    other = new_leases("host-b")
    (again,) = await other.claim(PARTITIONS)
    assert again.partition == claim.partition


async def test_an_old_token_releases_and_renews_nothing(leases: Leases) -> None:
    (claim, *_) = await leases.claim(PARTITIONS)
    await leases.release(claim.partition, type(claim.token)(claim.token - 1))
    renewal = await leases.renew({claim.partition: claim.token})
    assert renewal.held == {claim.partition}
    stale = await leases.renew({claim.partition: type(claim.token)(claim.token - 1)})
    assert stale.held == frozenset()


async def test_hosts_that_ended_long_ago_are_forgotten(
    pool: "asyncpg.Pool[asyncpg.Record]", leases: Leases, new_leases: NewLeases
) -> None:
    for host in ("long-ago", "just-now"):
        await new_leases(host).renew({})
    await pool.execute(
        "UPDATE hosts SET expires_at = now() - CASE host WHEN 'long-ago' THEN interval '61 minutes'"
        " ELSE interval '1 minute' END"
    )
    await leases.renew({})
    rows = await pool.fetch("SELECT host FROM hosts ORDER BY host")
    assert [row["host"] for row in rows] == ["host-a", "just-now"]


async def test_a_renewal_brings_the_time_that_all_hosts_agree_on(
    pool: "asyncpg.Pool[asyncpg.Record]", new_leases: NewLeases
) -> None:
    clock = DatabaseClock()
    wrong = await pool.fetchval("SELECT now() - interval '1 minute'")
    clock.set(wrong, asked_at=time.monotonic(), answered_at=time.monotonic())
    await new_leases("host-b", clock).renew({})
    assert abs(clock() - await pool.fetchval("SELECT clock_timestamp()")) < timedelta(seconds=5)
