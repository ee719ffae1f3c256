"""The ring itself: from a new session to a sent message, with processes that can be killed."""

from tests.system.event_consumer import consuming
from tests.system.ring import Ring

TO = "919876543210"
UNKNOWN_TO = "919876540002"
"""The simulated engine gets no ack for what goes there."""


async def test_a_healthy_start_misses_nothing(ring: Ring) -> None:
    for name in ring.processes:
        lines = ring.log(name).splitlines()
        told = "\n".join(line for line in lines if "broker_slow" not in line)  # a busy machine
        for word in ("warning", "error", "away"):
            assert word not in told, name


async def test_a_message_goes_round(ring: Ring) -> None:
    session = await ring.create_session("Sales")
    await ring.wait_for_status(session["sessionId"], "working")
    answer = await ring.send(session["token"], to=TO, type="text", message="Hello")
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "sent"


async def test_killed_processes_come_back_as_they_were(ring: Ring) -> None:
    session = await ring.create_session("Support")
    await ring.wait_for_status(session["sessionId"], "working")
    for name in ("host-0", "projector", "api-0"):
        await ring.kill(name)
        assert not ring.processes[name].alive
        await ring.restart(name)
    await ring.wait_for_status(session["sessionId"], "working")


async def test_two_sends_in_a_row_without_an_ack_start_another_connection(ring: Ring) -> None:
    session = await ring.create_session()
    await ring.wait_for_status(session["sessionId"], "working")
    async with consuming(ring.broker) as consumer:
        for _ in range(2):
            answer = await ring.send(session["token"], to=UNKNOWN_TO, type="text", message="?")
            assert (answer.status_code, answer.json()["code"]) == (500, "outcome_unknown")
        [lost] = await consumer.wait_for(session["sessionId"], "session.disconnected")
        assert lost["data"]["reason"] == "deaf"
        await consumer.wait_for(session["sessionId"], "session.connected")
    answer = await ring.send(session["token"], to=TO, type="text", message="heard again")
    assert answer.status_code == 200, answer.text
