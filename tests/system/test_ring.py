"""The ring itself: from a new session to a sent message, with processes that can be killed."""

from tests.system.ring import Ring


async def test_a_message_goes_round(ring: Ring) -> None:
    session = await ring.create_session("Sales")
    await ring.wait_for_status(session["sessionId"], "working")
    answer = await ring.send(session["token"], to="919876543210", type="text", message="Hello")
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "sent"


async def test_killed_processes_come_back_as_they_were(ring: Ring) -> None:
    session = await ring.create_session("Support")
    await ring.wait_for_status(session["sessionId"], "working")
    for name in ("host-0", "projector", "api-0"):
        await ring.kill(name)
        assert not ring.processes[name].alive
        await ring.restart(name)
    await ring.wait_for_status(session["sessionId"], "working", timeout=30)
