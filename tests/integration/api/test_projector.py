"""The projector: each event once and in order, whatever the broker and the database do."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import asyncpg
import pytest

from deploy.servers import databases
from tests.deadlines import eventually
from tests.infrastructure import OwnPostgres
from tests.integration.api.running import RunningApi, running_projector, settings_for
from tests.integration.api.scripted_host import NUMBER, ScriptedHost
from wa_api.settings import Settings
from wa_contracts.envelope import Envelope
from wa_contracts.ids import MessageId
from wa_contracts.internal.commands import MessageType, ReplaySession
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.message_events import (
    MessageDelivered,
    MessageFailed,
    MessageQueued,
    MessageRead,
    MessageReceived,
    MessageSent,
)
from wa_contracts.session_events import (
    SessionConnected,
    SessionCreated,
    SessionDeleted,
    SessionDisconnected,
    SessionStarting,
)
from wa_contracts.topology import PROJECTOR
from wa_runtime.migrations import migrate
from wa_runtime.topology_declaration import declare_topology

TO = "919876543210"


async def _rows(settings: Settings, sql: str, *values: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(settings.api_database_url.get_secret_value())
    try:
        return list(await connection.fetch(sql, *values))
    finally:
        await connection.close()


async def _feed(settings: Settings, session_id: UUID) -> list[int]:
    """The sequences of a session's events in the feed's order."""
    sql = "SELECT event->>'sessionSequence' AS n FROM feed WHERE session_id = $1 ORDER BY position"
    return [int(row["n"]) for row in await _rows(settings, sql, session_id)]


async def _fed(settings: Settings, session_id: UUID, count: int) -> None:
    async def reached() -> bool:
        seen = await _feed(settings, session_id)
        assert seen == list(range(1, count + 1)), seen
        return True

    done: bool = await eventually(reached, what=f"{count} events are in the feed")
    assert done


def _history(host: ScriptedHost, session_id: UUID) -> list[Envelope]:
    now = datetime.now(UTC)
    return [
        host.envelope(session_id, event)
        for event in (
            SessionCreated(name="shop"),
            SessionStarting(reason="created"),
            SessionConnected(phone_number=NUMBER, connected_at=now),
            SessionDisconnected(reason="network", message="Gone."),
            SessionConnected(phone_number=NUMBER, connected_at=now),
        )
    ]


async def test_duplicates_change_nothing(
    api: RunningApi, host: ScriptedHost, settings: Settings
) -> None:
    session_id = uuid4()
    events = _history(host, session_id)
    for event in (*events[:3], *events, *events[1:]):
        await host.publish(event)
    await api.reaches(str(session_id), "working")
    await _fed(settings, session_id, 5)


async def test_a_gap_is_asked_for_and_filled(
    api: RunningApi, host: ScriptedHost, settings: Settings
) -> None:
    session_id = uuid4()
    events = _history(host, session_id)

    async def replay(command: ReplaySession) -> None:
        for event in events[command.from_sequence - 1 :]:
            await host.publish(event)

    host.answers[ReplaySession] = replay
    await host.publish(events[0])
    await host.publish(events[4])
    await _fed(settings, session_id, 5)
    [command] = host.commands(ReplaySession)
    assert (command.from_sequence, command.queue) == (2, "wa.projector")
    await api.reaches(str(session_id), "working")


async def test_a_lost_replay_is_asked_for_again(
    api: RunningApi, host: ScriptedHost, settings: Settings
) -> None:
    session_id = uuid4()
    events = _history(host, session_id)

    async def second_time(_: ReplaySession) -> None:
        if len(host.commands(ReplaySession)) > 1:
            for event in events:
                await host.publish(event)

    host.answers[ReplaySession] = second_time
    await host.publish(events[2])
    await _fed(settings, session_id, 5)


async def test_late_event_of_a_deleted_session(
    api: RunningApi, host: ScriptedHost, settings: Settings
) -> None:
    session = await api.new_session(host)
    session_id = UUID(session["sessionId"])
    first = _history(host, uuid4())[0].model_copy(update={"session_id": session_id})
    await host.happen(session_id, _queued(uuid4()))
    await host.happen(session_id, SessionDeleted())
    await host.publish(first)
    other = await api.new_session(host)
    await api.reaches(other["sessionId"], "working")
    for table in ("sessions", "credentials", "messages"):
        assert not await _rows(settings, f"SELECT 1 FROM {table} WHERE session_id = $1", session_id)


async def test_what_cannot_be_read_or_stored_goes_to_the_dead_letters(
    api: RunningApi, host: ScriptedHost, settings: Settings
) -> None:
    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    async with connection:
        channel = await connection.channel()
        session_id = uuid4()
        events = _history(host, session_id)
        unknown = json.loads(events[1].model_dump_json()) | {"type": "session.from_the_future"}
        unstorable = host.envelope(
            session_id, SessionDisconnected(reason="a\x00b", message="Gone.")
        )
        bodies = [
            b"not json",
            events[0].model_dump_json().encode(),
            json.dumps(unknown).encode(),
            *(event.model_dump_json().encode() for event in events[2:]),
            unstorable.model_dump_json().encode(),
        ]
        for body in bodies:
            await channel.default_exchange.publish(aio_pika.Message(body), PROJECTOR)
        expected = {bodies[0], bodies[2], bodies[-1]}

        async def kept() -> bool:
            rows = await _rows(
                settings, "SELECT body FROM dead_letters WHERE body = ANY($1)", bodies
            )
            assert {row["body"] for row in rows} == expected
            return True

        assert await eventually(kept, what="three dead letters")
        await host.happen(session_id, SessionStarting(reason="again"))
        assert (await api.reaches(str(session_id), "starting"))["statusReason"] == "again"

        async def settled() -> bool:
            ready = (await api.anonymous.get("/readyz")).json()
            return bool(ready["projectorBacklog"] == 0)

        nothing_left: bool = await eventually(settled, what="the queue is empty")
        assert nothing_left


async def test_nul_in_a_received_text_is_shown_as_replacement(
    api: RunningApi, host: ScriptedHost, settings: Settings
) -> None:
    session = await api.new_session(host)
    received = MessageReceived(
        id=MessageId(uuid4()),
        message_id="3A0001",
        chat="919876543210@s.whatsapp.net",
        sender="919876543210@s.whatsapp.net",
        sender_number=TO,
        type="text",
        text="a\x00b \\u0000",
        received_at=datetime.now(UTC),
    )
    await host.happen(UUID(session["sessionId"]), received)
    message = (await api.admin.get(f"/api/messages/{received.id}")).json()
    assert (message["direction"], message["sender"], message["to"]) == ("incoming", TO, NUMBER)
    sql = "SELECT event->'data'->>'text' AS text FROM feed WHERE type = $1 AND session_id = $2"
    [row] = await _rows(settings, sql, "message.received", UUID(session["sessionId"]))
    assert row["text"] == "a\ufffdb \\u0000"


def _queued(message_id: UUID) -> MessageQueued:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    return MessageQueued(
        id=MessageId(message_id), to=TO, type=MessageType.TEXT, expires_at=expires_at
    )


@pytest.mark.parametrize("order", ["delivered first", "read first"])
async def test_receipts(api: RunningApi, host: ScriptedHost, order: str) -> None:
    session_id = UUID((await api.new_session(host))["sessionId"])
    message_id, now = MessageId(uuid4()), datetime.now(UTC)
    fields: dict[str, Any] = {"id": message_id, "message_id": "3EB0", "to": "5511987654321"}
    receipts = [
        MessageDelivered(**fields, delivered_at=now),
        MessageRead(**fields, read_at=now),
    ]
    await host.happen(session_id, _queued(message_id))
    await host.happen(session_id, MessageSent(**fields, type=MessageType.TEXT, sent_at=now))
    for event in receipts if order == "delivered first" else receipts[::-1]:
        await host.happen(session_id, event)

    async def both() -> dict[str, Any]:
        body: dict[str, Any] = (await api.admin.get(f"/api/messages/{message_id}")).json()
        assert body["readAt"]
        assert body["deliveredAt"]
        return body

    message: dict[str, Any] = await eventually(both, what="both receipts are there")
    assert message["status"] == "read"
    assert message["to"] == "5511987654321"


async def test_refused_message_may_be_opened_again(
    api: RunningApi, host: ScriptedHost, settings: Settings
) -> None:
    session_id = UUID((await api.new_session(host))["sessionId"])
    message_id = MessageId(uuid4())
    error = ErrorDetail(code="session_logged_out", message="Logged out.")
    failed = MessageFailed(id=message_id, to=TO, type=MessageType.TEXT, error=error)
    for event, status, queued in (
        (failed, "failed", 0),
        (_queued(message_id), "queued", 1),
        (failed, "failed", 0),
    ):
        await host.happen(session_id, event)

        async def shown(status: str = status) -> dict[str, Any]:
            body: dict[str, Any] = (await api.admin.get(f"/api/messages/{message_id}")).json()
            assert body.get("status") == status
            return body

        message: dict[str, Any] = await eventually(shown, what=f"it is {status}")
        assert (message["error"] is None) == (status == "queued")
        sql = "SELECT queued FROM sessions WHERE session_id = $1"
        assert [row["queued"] for row in await _rows(settings, sql, session_id)] == [queued]


async def test_database_away_at_start_and_later(
    broker: str, host: ScriptedHost, own_postgres: OwnPostgres, new_broker: Any, tmp_path: Path
) -> None:
    server = await own_postgres()
    urls = await databases.provide(server.url)
    await migrate(urls.api, "wa_api")
    await server.stop()
    settings = settings_for(urls.api, await new_broker(), tmp_path)
    connection = await aio_pika.connect(settings.amqp_url.get_secret_value())
    session_id = uuid4()
    events = _history(host, session_id)
    async with connection, running_projector(settings):
        await declare_topology(connection)
        channel = await connection.channel()

        async def publish(event: Envelope) -> None:
            message = aio_pika.Message(event.model_dump_json().encode())
            await channel.default_exchange.publish(message, PROJECTOR)

        for event in events[:2]:
            await publish(event)
        await server.start()
        await _fed(settings, session_id, 2)
        await server.kill()
        for event in events[2:]:
            await publish(event)
        await server.start()
        await _fed(settings, session_id, 5)
