"""What cannot be handled lands among the dead letters, harms no neighbour, and can be put back."""

import json
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import pytest

from tests.deadlines import eventually
from tests.system.conftest import NewRing
from tests.system.ring import Ring
from wa_contracts.ids import SessionId
from wa_contracts.topology import PROJECTOR, command_key, partition_of

TO = "919876543210"


@pytest.fixture(scope="module")
async def ring(new_ring: NewRing) -> Ring:
    """One ring for the module."""
    return await new_ring(environment={"SIMULATED_LINKS_AFTER": "0.1"})


async def publish(ring: Ring, exchange: str, key: str, body: bytes) -> None:
    """Straight to the broker, past the api."""
    async with await aio_pika.connect(ring.broker) as connection:
        channel = await connection.channel()
        target = channel.default_exchange
        if exchange:
            target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(body, type="test"), key, mandatory=True)


async def letters(ring: Ring) -> list[dict[str, Any]]:
    """All dead letters."""
    answer = await ring.admin.get("/api/dead-letters")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def new_letter(ring: Ring, known: list[dict[str, Any]], queue: str) -> dict[str, Any]:
    """A dead letter of that queue that was not there before."""
    before = {letter["id"] for letter in known}

    async def found() -> list[dict[str, Any]]:
        fresh = [one for one in await letters(ring) if one["id"] not in before]
        return [one for one in fresh if one["queue"] == queue]

    (letter,) = await eventually(found, what=f"a dead letter of {queue}")
    assert isinstance(letter, dict)
    return letter


def unstorable_send(session_id: str) -> dict[str, Any]:
    """A SendMessage that the api would have refused: Postgres takes no U+0000."""
    now = "2026-01-02T03:04:05Z"
    return {
        "type": "SendMessage",
        "id": str(uuid4()),
        "sessionId": session_id,
        "correlationId": str(uuid4()),
        "issuedAt": now,
        "expiresAt": "2100-01-01T00:00:00Z",
        "messageId": str(uuid4()),
        "to": TO,
        "messageType": "text",
        "text": "a\x00b",
        "fingerprint": "f",
    }


async def working(ring: Ring) -> dict[str, Any]:
    """A session that works."""
    session = await ring.create_session("letters")
    await ring.wait_for_status(session["sessionId"], "working")
    return session


@pytest.mark.parametrize("body", [b"not json", b"{}", b'{"type": "Vanish"}', b"\xff" * 100_000])
async def test_a_malformed_command_is_a_dead_letter_and_its_neighbours_go_on(
    ring: Ring, body: bytes
) -> None:
    session = await working(ring)
    partition = partition_of(SessionId(UUID(session["sessionId"])))
    known = await letters(ring)
    await publish(ring, "wa.commands", command_key(partition), body)
    answer = await ring.send(session["token"], to=TO, type="text", message="a neighbour")
    assert answer.status_code == 200, answer.text
    letter = await new_letter(ring, known, f"wa.commands.p{partition}")
    assert letter["reason"] == "rejected"
    assert letter["size"] == len(body)


async def test_a_malformed_event_is_a_dead_letter_and_its_neighbours_go_on(ring: Ring) -> None:
    session = await working(ring)
    known = await letters(ring)
    await publish(ring, "", PROJECTOR, b'{"version": 99}')
    answer = await ring.send(session["token"], to=TO, type="text", message="a neighbour")
    assert answer.status_code == 200, answer.text
    await ring.wait_for_message(answer.json()["id"], ["sent", "delivered"])
    assert (await new_letter(ring, known, "wa.projector"))["reason"] == "rejected"


async def test_a_dead_send_ends_as_failed_and_can_be_put_back(ring: Ring) -> None:
    session = await working(ring)
    partition = partition_of(SessionId(UUID(session["sessionId"])))
    command = unstorable_send(session["sessionId"])
    known = await letters(ring)
    await publish(ring, "wa.commands", command_key(partition), json.dumps(command).encode())
    letter = await new_letter(ring, known, f"wa.commands.p{partition}")
    message = await ring.wait_for_message(command["messageId"], "failed")
    assert message["error"]["code"] == "internal"
    retried = await ring.admin.post(f"/api/dead-letters/{letter['id']}/retry")
    assert retried.status_code == 202, retried.text
    again = await new_letter(ring, [*known, letter], f"wa.commands.p{partition}")
    assert again["id"] != letter["id"]
    assert letter["id"] not in {one["id"] for one in await letters(ring)}
    await ring.wait_for_message(command["messageId"], "failed")


async def test_an_unknown_letter_and_another_visitor_are_refused(ring: Ring) -> None:
    answer = await ring.admin.post(f"/api/dead-letters/{uuid4()}/retry")
    assert answer.status_code == 404
    assert answer.json()["code"] == "dead_letter_not_found"
    session = await ring.create_session("other")
    for client in (ring.client(None), ring.client(session["token"])):
        assert (await client.get("/api/dead-letters")).status_code == 401
