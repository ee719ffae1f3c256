"""The ring's system test against containers, and the end of one of two session-hosts."""

import time

from tests.compose.compose_ring import ComposeRing
from tests.deadlines import eventually
from tests.system.cluster import Cluster
from tests.system.event_consumer import consuming
from tests.system.test_ring import (
    test_a_message_goes_round,
    test_killed_processes_come_back_as_they_were,
    test_two_sends_in_a_row_without_an_ack_start_another_connection,
)

__all__ = [
    "test_a_message_goes_round",
    "test_killed_processes_come_back_as_they_were",
    "test_two_sends_in_a_row_without_an_ack_start_another_connection",
]

LEASE_SECONDS = 10
SESSIONS = 12
"""With this many, each of two hosts has some, but for one run in two thousand."""


async def test_the_sessions_of_a_killed_host_work_on_the_other(ring: ComposeRing) -> None:
    async def both_heard() -> bool:
        assert (await ring.admin.get("/readyz")).json()["liveHosts"] == 2
        return True

    await eventually(both_heard, every=0.2, what="two hosts are heard")
    cluster = Cluster(ring, ring.create_session)
    cluster.sessions = [await ring.create_session() for _ in range(SESSIONS)]
    ids = {session["sessionId"] for session in cluster.sessions}
    for id_ in ids:
        await ring.wait_for_status(id_, "working")
    before = {id_: (await ring.session(id_))["connectedAt"] for id_ in ids}
    async with consuming(ring.broker) as consumer:
        async with cluster.sending(ids) as answers:
            await eventually(lambda: len(answers) >= SESSIONS, what="all have sent")
            began = time.monotonic()
            await ring.kill("host-1")

            async def moved() -> set[str]:
                shown = [await ring.session(id_) for id_ in ids]
                assert {one["status"] for one in shown} == {"working"}
                found = {
                    s["sessionId"] for s in shown if s["connectedAt"] != before[s["sessionId"]]
                }
                assert found
                return found

            lost = await eventually(moved, within=LEASE_SECONDS + 10, what="all work again")
            took = time.monotonic() - began
        assert 0 < len(lost) < SESSIONS, "one host had everything"
        failed = [answer for answer in answers if answer.status_code not in {200, 202}]
        assert {answer.json()["code"] for answer in failed} <= {"outcome_unknown"}
        assert len(failed) <= len(lost)

        def each_once() -> bool:
            ends = {"message.sent", "message.failed", "message.unknown"}
            ended = {e["id"]: e["data"]["id"] for e in consumer.events if e["type"] in ends}
            assert len(ended) == len(set(ended.values()))
            assert {a.json()["id"] for a in answers} <= set(ended.values())
            return True

        await eventually(each_once, what="every message has ended once")
    print(f"{len(lost)} of {SESSIONS} sessions worked on the other host after {took:.1f} s")
    await ring.restart("host-1")
    await eventually(both_heard, every=0.2, what="two hosts are heard again")
