"""A rebuild of the projections while everything serves: what they show is what is stored."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

import wa_session_host.store.retention
from deploy.servers.factory import RabbitMQServer
from tests.deadlines import eventually
from tests.integration.webhooks.receiver import running_receiver
from tests.system.conftest import NewRing
from tests.system.event_consumer import consuming
from tests.system.projected import SESSIONS, ProjectedRing, execute, fetch, following, rows_of
from tests.system.ring import Ring
from wa_api.database.pool import Database
from wa_api.projecting.retention import Retention
from wa_runtime.fault_points import FaultPoint, ReplayPoint

SABOTAGES = (
    "UPDATE messages SET status = 'failed', recipient = '1' WHERE session_id = '{victim}'",
    "DELETE FROM messages WHERE session_id = '{other}'",
    "UPDATE sessions SET status = 'banned', queued = 7 WHERE session_id = '{victim}'",
    "DELETE FROM sessions WHERE session_id = '{other}'",
    "DELETE FROM checkpoints WHERE session_id = '{other}'",
    "UPDATE checkpoints SET applied_sequence = 999, seen_sequence = 1000 WHERE session_id = '{victim}'",
    """INSERT INTO sessions (session_id, partition, status, desired_state, created_at)
       VALUES ('{nobody}', 1, 'working', 'running', now())""",
    "INSERT INTO checkpoints (session_id, applied_sequence, seen_sequence) VALUES ('{nobody}', 5, 5)",
)

KEEP = timedelta(days=30)

CLIENTS = 8
"""They send without a pause: as much as the ring accepts on this machine."""

AGE = """
    UPDATE events SET occurred_at = occurred_at - interval '40 days'
    WHERE stream = ANY(SELECT 'message-' || id FROM unnest($1::text[]) AS id)
"""

HOLE = "UPDATE checkpoints SET applied_sequence = 5 WHERE session_id = '{victim}'"

CUT_REBUILD = """
[rabbit_networking:close_connection(Pid, "a test")
 || [{pid, Pid}, {client_properties, Properties}]
        <- rabbit_networking:connection_info_all([pid, client_properties]),
    {_, _, Name} <- [lists:keyfind(<<"connection_name">>, 1, Properties)],
    binary:match(Name, <<"rebuild">>) =/= nomatch].
"""


@pytest.fixture(scope="module")
async def projected_ring(
    new_ring: NewRing, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProjectedRing]:
    """One ring of two hosts for the module; every test leaves it quiet and true."""
    armed = tmp_path_factory.mktemp("rebuild") / "fault-point"
    ring = await new_ring(
        hosts=2,
        environment={
            "LEASE_SECONDS": "3",
            "SIMULATED_LINKS_AFTER": "0.1",
            "SESSION_RATE_PER_MINUTE": "100000",
            "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
        },
        host_environment={"FAULT_POINT_FILE": str(armed)},
    )
    async with consuming(ring.broker) as consumer:
        sessions = [await ring.create_session(f"session {n}") for n in range(SESSIONS)]
        for session in sessions:
            await ring.wait_for_status(session["sessionId"], "working")
        projected_ring = ProjectedRing(ring, sessions, consumer, armed)
        await projected_ring.send_many(range(60))
        yield projected_ring


async def test_a_rebuild_under_traffic_loses_nothing_and_doubles_nothing(
    projected_ring: ProjectedRing,
) -> None:
    ended = asyncio.Event()
    numbers = itertools.count(1000)

    async def traffic() -> int:
        sent = 0
        while not ended.is_set():
            await projected_ring.send(next(numbers))
            sent += 1
        return sent

    async with following(projected_ring.ring) as seen:
        sending = [asyncio.create_task(traffic()) for _ in range(CLIENTS)]
        await projected_ring.rebuild()
        ended.set()
        sent = sum(await asyncio.gather(*sending))
        await projected_ring.assert_true()
        assert sent > 20, "the api answered while the rebuild ran"
        last = (await fetch(projected_ring.ring.databases, "SELECT max(position) FROM feed"))[0][0]
        await eventually(lambda: seen[-1:] == [last], what="the stream has it all")
    assert seen == sorted(set(seen))


async def test_a_client_resumes_across_a_rebuild(projected_ring: ProjectedRing) -> None:
    async with following(projected_ring.ring) as seen:
        await projected_ring.send_many(range(2000, 2005))
        await eventually(lambda: len(seen) >= 10, what="some events")
    await projected_ring.send_many(range(2005, 2010))
    await projected_ring.rebuild()
    await projected_ring.send_many(range(2010, 2015))
    expected = await fetch(
        projected_ring.ring.databases,
        f"SELECT position FROM feed WHERE position > {seen[-1]} ORDER BY 1",
    )
    async with following(projected_ring.ring, after=seen[-1]) as rest:
        await eventually(lambda: len(rest) >= len(expected), what="all that is later")
    assert rest == [position for (position,) in expected]


async def test_webhooks_go_on_across_a_rebuild(projected_ring: ProjectedRing) -> None:
    await projected_ring.quiet()
    [(begin,)] = await fetch(projected_ring.ring.databases, "SELECT max(position) FROM feed")
    fed = f"SELECT event ->> 'id', session_id::text FROM feed WHERE position > {begin} ORDER BY position"
    async with running_receiver() as receiver:
        asked = {"url": receiver.url("/here")}
        answer = await projected_ring.ring.admin.post("/api/webhooks", json=asked)
        assert answer.status_code == 201, answer.text
        webhooks = projected_ring.ring.start_webhooks()
        got = receiver.received["/here"]
        await projected_ring.send_many(range(2050, 2055))
        await eventually(lambda: len(got) >= 10, what="some events")
        await projected_ring.rebuild()
        await projected_ring.send_many(range(2055, 2060))
        events = await fetch(projected_ring.ring.databases, fed)
        await eventually(lambda: len(got) >= len(events), what="all events")
        await webhooks.stop(within=10)
        await projected_ring.ring.admin.delete(answer.headers["Location"])
    came = [request.webhook_id for request in got]
    assert sorted(came) == sorted(event_id for event_id, _ in events)
    for session in projected_ring.sessions:
        of_one = [event_id for event_id, id_ in events if id_ == session["sessionId"]]
        assert [event_id for event_id in came if event_id in of_one] == of_one


async def test_the_feed_misses_nothing_when_a_rebuild_overtakes_the_projector(
    projected_ring: ProjectedRing,
) -> None:
    await projected_ring.quiet()
    async with following(projected_ring.ring) as seen:
        await projected_ring.ring.end("projector")
        for number in range(2100, 2130):
            await projected_ring.send(number)
        for session in projected_ring.sessions:
            await projected_ring.consumer.wait_for(session["sessionId"], "message.sent", count=5)
        await projected_ring.rebuild()
        unfed = "SELECT count(*) FROM checkpoints WHERE fed_sequence < applied_sequence"
        assert (await fetch(projected_ring.ring.databases, unfed))[0][0] == SESSIONS
        await projected_ring.ring.restart("projector")
        await projected_ring.assert_true()
        assert (await fetch(projected_ring.ring.databases, unfed))[0][0] == 0
        last = (await fetch(projected_ring.ring.databases, "SELECT max(position) FROM feed"))[0][0]
        await eventually(lambda: seen[-1:] == [last], what="the stream has it all")


async def test_a_rebuild_waits_for_hosts_and_outlives_its_connections(
    projected_ring: ProjectedRing, rabbitmq: RabbitMQServer
) -> None:
    await projected_ring.quiet()
    before = await rows_of(projected_ring.ring.databases)
    for number in (0, 1):
        await projected_ring.ring.kill_host(number)
    connections = projected_ring.ring.log("rebuild").count("broker_connected")

    def connected(times: int) -> bool:
        return (
            projected_ring.ring.log("rebuild").count("broker_connected") == connections + 2 * times
        )

    given_up = projected_ring.ring.start_rebuild()
    await eventually(lambda: connected(1), what="one waits for the hosts")
    assert await projected_ring.ring.end("rebuild")
    assert given_up.exit_code == 1
    assert "The rebuild was broken off. Nothing is changed." in projected_ring.ring.log("rebuild")

    rebuild = projected_ring.ring.start_rebuild()
    await eventually(lambda: connected(2), what="another waits")
    await rabbitmq.evaluate(CUT_REBUILD)
    await eventually(lambda: connected(3), what="its connections are back")
    for number in (0, 1):
        await projected_ring.ring.restart(f"host-{number}")
    assert await rebuild.wait() == 0, projected_ring.ring.log("rebuild")
    assert (await rows_of(projected_ring.ring.databases))["messages"] == before["messages"]
    await projected_ring.all_work()
    await projected_ring.send_many(range(2200, 2210))
    await projected_ring.assert_true()


async def test_a_rebuild_heals_what_is_wrong_in_the_tables(projected_ring: ProjectedRing) -> None:
    await projected_ring.quiet()
    before = await rows_of(projected_ring.ring.databases)
    victim, other = (session["sessionId"] for session in projected_ring.sessions[:2])
    for sabotage in SABOTAGES:
        sql = sabotage.format(victim=victim, other=other, nobody=uuid4())
        await execute(projected_ring.ring.databases.api, sql)
    assert await rows_of(projected_ring.ring.databases) != before
    await projected_ring.rebuild()
    assert await rows_of(projected_ring.ring.databases) == before
    await projected_ring.send_many(range(3000, 3010))
    await projected_ring.assert_true()


async def test_the_host_that_replays_is_killed_in_the_middle(projected_ring: ProjectedRing) -> None:
    await projected_ring.quiet()
    before = await rows_of(projected_ring.ring.databases)
    projected_ring.armed.write_text(ReplayPoint.BUNDLE_REPLAYED)
    await projected_ring.rebuild()
    [dead] = [
        name for name, child in projected_ring.ring.processes.items() if child.exit_code == -9
    ]
    assert dead.startswith("host-")
    after = await rows_of(projected_ring.ring.databases)
    assert after["messages"] == before["messages"]
    await projected_ring.ring.restart(dead)
    await projected_ring.all_work()
    await projected_ring.send_many(range(4000, 4010))
    await projected_ring.assert_true()


async def test_a_rebuild_that_is_killed_leaves_nothing_that_matters(
    projected_ring: ProjectedRing,
) -> None:
    await projected_ring.quiet()
    before = await rows_of(projected_ring.ring.databases)
    armed = projected_ring.armed.with_name("of-the-rebuild")
    armed.write_text(FaultPoint.PROJECTION_STORED)
    killed = projected_ring.ring.start_rebuild({"FAULT_POINT_FILE": str(armed)})
    assert await killed.wait() == -9
    half_done = await fetch(
        projected_ring.ring.databases, "SELECT count(*) FROM api_rebuild.checkpoints"
    )
    assert half_done[0][0] > 0
    assert await rows_of(projected_ring.ring.databases) == before
    await projected_ring.rebuild()
    assert await rows_of(projected_ring.ring.databases) == before
    left = "SELECT tablename FROM pg_tables WHERE schemaname = 'api_rebuild'"
    assert await fetch(projected_ring.ring.databases, left) == []
    await projected_ring.assert_true()


async def test_a_rebuild_after_retention_reaches_what_retention_left(
    projected_ring: ProjectedRing,
) -> None:
    old, kept = projected_ring.accepted[:40], projected_ring.accepted[40:]
    await projected_ring.quiet()
    await execute(projected_ring.ring.databases.session_host, AGE, old)
    await projected_ring.rebuild()  # the tables get the times that the store has now
    removed = await remove_finished(projected_ring.ring)
    assert 30 < removed <= len(old), "each but those with the highest sequence of their session"
    await forget_rows(projected_ring.ring)
    left = await rows_of(projected_ring.ring.databases)
    assert {str(row[0]) for row in left["messages"]} == set(kept)
    await projected_ring.rebuild()
    assert await rows_of(projected_ring.ring.databases) == left

    # A gap of which the events are gone ends all the same.
    victim = projected_ring.sessions[0]["sessionId"]
    await execute(projected_ring.ring.databases.api, HOLE.format(victim=victim))
    await projected_ring.quiet()
    assert await rows_of(projected_ring.ring.databases) == left

    projected_ring.accepted = kept
    await projected_ring.send_many(range(5000, 5020))
    shown = {str(row[0]) for row in (await rows_of(projected_ring.ring.databases))["messages"]}
    assert set(projected_ring.accepted) <= shown
    projected_ring.consumer.assert_gapless()


async def remove_finished(ring: Ring) -> int:
    """What the hosts do every hour, in their names."""
    removed = 0
    async with asyncpg.create_pool(ring.databases.session_host, min_size=1) as pool:
        for row in await pool.fetch("SELECT partition, host, fencing_token FROM partitions"):
            retention = wa_session_host.store.retention.StreamRetention(pool, row["host"], KEEP)
            removed += await retention.remove(
                row["partition"], row["fencing_token"], datetime.now(UTC)
            )
    return removed


async def forget_rows(ring: Ring) -> None:
    """What the projector does every ten minutes."""
    async with Database(ring.databases.api, size=1) as database:
        await Retention(database, keep=KEEP, clock=lambda: datetime.now(UTC)).forget()


async def test_only_one_rebuild_runs_at_a_time(projected_ring: ProjectedRing) -> None:
    connection = await asyncpg.connect(projected_ring.ring.databases.api)
    try:
        await connection.execute("SELECT pg_advisory_lock(x'77615F72656275'::bigint)")
        assert await projected_ring.ring.start_rebuild().wait() == 1
    finally:
        await connection.close()
    assert "Another rebuild is running." in projected_ring.ring.log("rebuild")
