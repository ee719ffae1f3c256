"""`keepMedia` and `includeMedia` on the real engine: media without the session, and without WhatsApp."""

import asyncio
import os

from tests.deadlines import eventually
from tests.integration.webhooks.receiver import running_receiver
from tests.system.event_consumer import EventConsumer, consuming
from tests.system.linking import link
from tests.system.rings import NewRing
from tests.whatsapp import StandIn

OURS, THEIRS = "919876543210", "12345678900"


async def received_id(consumer: EventConsumer, session_id: str, whatsapp_id: str) -> str:
    """Our id of a message that arrived."""

    def found() -> str | None:
        events = consumer.of(session_id, "message.received")
        return next(
            (e["data"]["id"] for e in events if e["data"]["messageId"] == whatsapp_id), None
        )

    message_id = await eventually(found, what="message.received")
    assert message_id is not None
    return str(message_id)


async def test_kept_media_is_served_when_its_host_is_gone_and_by_its_link(
    new_ring: NewRing,
) -> None:
    async with StandIn.start() as whatsapp, running_receiver() as receiver:
        ring = await new_ring(
            engine="neonize",
            environment={"WEBHOOK_ALLOWED_HOSTS": "127.0.0.1"},
            host_environment=whatsapp.engine_environment(),
        )
        ring.start_webhooks({"PUBLIC_URL": ring.url()})
        async with consuming(ring.broker) as consumer:
            contact = whatsapp.contact(THEIRS)
            session = await link(ring, whatsapp.phone(OURS))
            session_id = session["sessionId"]
            changed = await ring.admin.patch(
                f"/api/sessions/{session_id}", json={"keepMedia": True}
            )
            assert changed.json()["keepMedia"] is True
            made = await ring.admin.post(
                "/api/webhooks",
                json={
                    "url": receiver.url("/hook"),
                    "events": ["message.received"],
                    "includeMedia": True,
                },
            )
            assert (made.status_code, made.json()["includeMedia"]) == (201, True), made.text
            files = {name: os.urandom(size) for name, size in (("a.pdf", 300_000), ("b.pdf", 10))}
            ids = {}
            for name, data in files.items():
                sent = await contact.send_document(OURS, data, "application/pdf", name)
                ids[name] = await received_id(consumer, session_id, sent)
            await eventually(
                lambda: len(list((ring.directory / "uploads" / "received").rglob("*.json"))) == 2,
                what="both files are kept",
            )
            await eventually(lambda: len(receiver.received["/hook"]) == 2, what="both webhooks")
            whatsapp.forget_media()
            await ring.end("host-0")
            client, anonymous = ring.client(session["token"]), ring.client(None)
            for name, data in files.items():
                answer = await client.get(f"/api/messages/{ids[name]}/media")
                assert answer.status_code == 200, answer.text
                assert answer.content == data
                assert f'filename="{name}"' in answer.headers["content-disposition"]
            links = {
                one.event["data"]["id"]: one.event["data"] for one in receiver.received["/hook"]
            }
            answers = await asyncio.gather(
                *(anonymous.get(links[ids[name]]["mediaUrl"]) for name in files)
            )
            assert [answer.content for answer in answers] == list(files.values())
            forged = links[ids["a.pdf"]]["mediaUrl"].replace(ids["a.pdf"], ids["b.pdf"])
            refused = await anonymous.get(forged)
            assert (refused.status_code, refused.json()["code"]) == (403, "media_link_invalid")
        await ring.stop()
