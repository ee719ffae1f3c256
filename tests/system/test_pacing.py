"""A paced session, as its users see it."""

from typing import Any

from tests.deadlines import eventually
from tests.system.conftest import NewRing

TO = "919876543210"


async def test_a_daily_cap_holds_over_a_restart_and_is_shown(new_ring: NewRing) -> None:
    ring = await new_ring(
        environment={"SIMULATED_LINKS_AFTER": "0.1", "LEASE_SECONDS": "3"},
        host_environment={"PACE_PER_DAY": "2"},
    )
    session = await ring.create_session("paced")
    await ring.wait_for_status(session["sessionId"], "working")

    async def send() -> Any:
        headers = {"Prefer": "respond-async"}
        answer = await ring.send(session["token"], headers=headers, to=TO, type="text", message="x")
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    sent = [await send() for _ in range(2)]
    for message_id in sent:
        await ring.wait_for_message(message_id, ("sent", "delivered"))
    third = await send()

    async def shown() -> dict[str, Any]:
        pacing = (await ring.session(session["sessionId"])).get("pacing")
        assert pacing, "the host has not said its pace yet"
        assert pacing["sentToday"] == 2
        assert pacing["nextSendAt"].endswith("T00:00:00Z")
        assert (pacing["perMinute"], pacing["perDay"]) == (None, 2)
        found: dict[str, Any] = pacing
        return found

    await eventually(shown, what="the cap is shown")
    await ring.kill("host-0")
    await ring.restart("host-0")
    await ring.wait_for_status(session["sessionId"], "working")
    await eventually(shown, what="the cap is shown after the restart")
    fourth = await send()
    await ring.wait_for_message(fourth, "queued")
    await ring.wait_for_message(third, "queued")
    signed_in = await ring.client(None).post("/login", data={"key": ring.admin_key})
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    page = await ring.client(None).get(
        f"/sessions/{session['sessionId']}", headers={"Cookie": cookie}
    )
    assert "2 of 2 today, the next at" in page.text
    cancelled = await ring.admin.post(f"/api/messages/{third}/cancel")
    assert cancelled.status_code in {200, 202}
