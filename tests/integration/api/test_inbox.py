"""What an api process hears for itself alone: garbage among it harms nobody."""

from datetime import UTC, datetime, timedelta

import aio_pika
import pytest

from tests.deadlines import eventually
from tests.integration.api.running import RunningApi
from tests.integration.api.scripted_host import NUMBER, ScriptedHost
from wa_api.settings import Settings
from wa_contracts.codec import EVENT_LIMIT
from wa_contracts.internal.commands import RestartSession, SendMessage
from wa_contracts.topology import EVENTS, HEARTBEATS

TEXT = {"to": NUMBER, "type": "text", "message": "Hello"}
GARBAGE = (
    b"",
    b"\xff",
    b"[" * 100_000,
    b'{"commandId": 1, "partitions": [1e999], "goodForSeconds": "NaN"}',
    b'{"type": [], "version": {}, "data": {}}',
    b" " * (EVENT_LIMIT + 1),
)


@pytest.mark.parametrize("kind", ["reply", "message.sent", None])
async def test_replies_and_heartbeats_of_no_sense(
    api: RunningApi, host: ScriptedHost, settings: Settings, kind: str | None
) -> None:
    session = await api.new_session(host)
    client = api.client(session["token"])
    assert (await client.post("/api/messages/send", json=TEXT)).status_code == 200
    [reply_to] = {c.reply_to for c in host.received if isinstance(c, SendMessage)}
    assert reply_to
    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    async with connection:
        channel = await connection.channel()
        for exchange, key in ((EVENTS, reply_to), (HEARTBEATS, "")):
            target = await channel.get_exchange(exchange, ensure=False)
            for body in GARBAGE:
                await target.publish(aio_pika.Message(body, type=kind), key)
    assert (await client.post("/api/messages/send", json=TEXT)).status_code == 200
    await api.reaches(session["sessionId"], "working")


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(minutes=-10)])
async def test_commands_expire_by_the_hosts_time(
    api: RunningApi, host: ScriptedHost, ahead: timedelta
) -> None:
    """A host counts a command's life, so that the api's own clock may be wrong."""
    session = await api.new_session(host)
    host.ahead = ahead
    client = api.client(session["token"])

    async def issued_in_time() -> bool:
        await client.post("/api/messages/send", json=TEXT)
        await api.admin.post(f"/api/sessions/{session['sessionId']}/restart")
        late = datetime.now(UTC) + ahead - host.received[-1].issued_at
        assert isinstance(host.received[-1], RestartSession)
        sent = next(one for one in reversed(host.received) if isinstance(one, SendMessage))
        both = abs(late) < timedelta(minutes=1)
        return both and abs(host.received[-1].issued_at - sent.issued_at) < timedelta(minutes=1)

    await eventually(issued_in_time, what="commands are issued by the host's time")
