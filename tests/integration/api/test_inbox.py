"""What an api process hears for itself alone: garbage among it harms nobody."""

import aio_pika
import pytest

from tests.integration.api.running import RunningApi
from tests.integration.api.scripted_host import NUMBER, ScriptedHost
from wa_api.settings import Settings
from wa_contracts.codec import EVENT_LIMIT
from wa_contracts.internal.commands import SendMessage
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
