"""One trace from the request to WhatsApp's ack and to the consumer, over every process between."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from opentelemetry.trace import SpanKind

from deploy.servers.children import Child, Orders
from tests.deadlines import eventually
from tests.system import traced_consumer
from tests.system.ring import Ring
from tests.system.rings import NewRing
from tests.system.trace_collector import SeenSpan, TraceCollector, collecting
from wa_contracts.codec import encode
from wa_contracts.consumer.queue import declare_durable
from wa_contracts.envelope import Envelope
from wa_contracts.examples import EXAMPLES
from wa_contracts.ids import SessionId
from wa_contracts.internal.bundle import BUNDLE, frame_bundle
from wa_contracts.topology import EVENTS, PROJECTOR

TO = "919876543210"
TEXT = "a body that no span may hold"
HOPS = {
    # Where, and what: in the order of a message's way.
    ("wa-api", SpanKind.SERVER, "POST /api/messages/send"),
    ("wa-api", SpanKind.CLIENT, "SELECT"),
    ("wa-api", SpanKind.INTERNAL, "send"),
    ("wa-api", SpanKind.PRODUCER, "wa.commands,p* send"),
    ("wa-session-host", SpanKind.CONSUMER, "wa.commands receive"),
    ("wa-session-host", SpanKind.CONSUMER, "SendMessage"),
    ("wa-session-host", SpanKind.INTERNAL, "store"),
    ("wa-session-host", SpanKind.CLIENT, "WITH"),
    ("wa-session-host", SpanKind.INTERNAL, "deliver"),
    ("wa-session-host", SpanKind.CLIENT, "WhatsApp send"),
    ("wa-session-host", SpanKind.PRODUCER, "wa.events,v1.*.message.queued send"),
    ("wa-session-host", SpanKind.PRODUCER, "wa.events,v1.*.message.sent send"),
    ("wa-api", SpanKind.CONSUMER, "wa.events receive"),
    ("wa-projector", SpanKind.INTERNAL, "project"),
    ("wa-projector", SpanKind.CLIENT, "INSERT"),
    ("event-consumer", SpanKind.CONSUMER, "message.sent process"),
}


@pytest.fixture(scope="module")
async def collector() -> AsyncIterator[TraceCollector]:
    async with collecting() as started:
        yield started


@pytest.fixture(scope="module")
async def ring(
    collector: TraceCollector, new_ring: NewRing, tmp_path_factory: pytest.TempPathFactory
) -> Ring:
    return await new_ring(
        directory=(directory := tmp_path_factory.mktemp("ring")),
        host_environment={"FAULT_POINT_FILE": str(directory / "fault")},
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "LOG_FORMAT": "json",
            "SIMULATED_LINKS_AFTER": "0",
            "LEASE_SECONDS": "2",
        },
    )


@pytest.fixture(scope="module")
async def session(ring: Ring) -> dict[str, Any]:
    created = await ring.create_session()
    await ring.wait_for_status(created["sessionId"], "working")
    return created


@pytest.fixture(scope="module")
async def consumer(ring: Ring, collector: TraceCollector) -> AsyncIterator[Child]:
    """Its queue is there before it is: it misses nothing while it starts."""
    async with await aio_pika.connect(ring.broker) as connection:
        await declare_durable(connection, traced_consumer.QUEUE, shared=False)
        channel = await connection.channel()
        queue = await channel.get_queue(traced_consumer.QUEUE)
        await queue.bind(EVENTS, f"v1.*.{traced_consumer.EVENT}")
    argv = (sys.executable, "-m", traced_consumer.__name__, collector.endpoint, ring.broker)
    child = Child.start(
        Orders("consumer", argv, ring.environment, ring.directory / "logs/consumer.log")
    )
    yield child
    await child.stop(within=10)


async def whole_trace(collector: TraceCollector, message_id: str) -> list[SeenSpan]:
    """The spans of the message's trace, once every hop is there and none has a parent that is not."""

    def whole() -> list[SeenSpan]:
        traces = {
            s.trace for s in collector.spans if s.attributes.get("wa.message_id") == message_id
        }
        assert len(traces) == 1, traces
        spans = collector.of(traces.pop())
        assert HOPS - {_hop(span) for span in spans} == set()
        ids = {span.id for span in spans}
        assert [span for span in spans if span.parent and span.parent not in ids] == []
        return spans

    return await eventually(whole, what="every hop of the message in one trace")


def _hop(span: SeenSpan) -> tuple[str, SpanKind, str]:
    name = re.sub(r"(v1\.)[0-9a-f-]{36}|(,p)\d+", lambda m: f"{m[1] or m[2]}*", span.name)
    return span.service, span.kind, name


async def test_a_message_is_one_trace_from_the_request_to_the_ack_and_the_consumer(
    ring: Ring, session: dict[str, Any], consumer: Child, collector: TraceCollector
) -> None:
    answer = await ring.send(session["token"], to=TO, type="text", message=TEXT)
    assert answer.status_code == 200, answer.text
    spans = await whole_trace(collector, answer.json()["id"])
    (root,) = (span for span in spans if not span.parent)
    assert root.name == "POST /api/messages/send"
    sent = next(span for span in spans if span.name == "WhatsApp send")
    assert sent.attributes["wa.whatsapp_id"] == answer.json()["messageId"]
    assert consumer.alive
    assert root.trace in ring.log("consumer")


async def test_a_clients_own_trace_goes_on(
    ring: Ring, session: dict[str, Any], consumer: Child, collector: TraceCollector
) -> None:
    theirs = "0af7651916cd43dd8448eb211c80319c"
    answer = await ring.send(
        session["token"],
        headers={"traceparent": f"00-{theirs}-b7ad6b7169203331-01"},
        to=TO,
        type="text",
        message=TEXT,
    )
    assert answer.status_code == 200, answer.text

    def reached() -> bool:
        return {_hop(span) for span in collector.of(theirs)} >= HOPS

    assert consumer.alive
    await eventually(reached, what="every hop in the client's trace")


async def test_the_trace_survives_in_the_event_store(
    ring: Ring, session: dict[str, Any], consumer: Child, collector: TraceCollector
) -> None:
    """The host dies between storing the outcome and publishing it; its successor publishes it."""
    (ring.directory / "fault").write_text("outcome_stored")
    request = asyncio.create_task(
        ring.send(
            session["token"],
            headers={"Prefer": "respond-async"},
            to=TO,
            type="text",
            message=TEXT,
        )
    )
    assert await ring.processes["host-0"].wait() == -9
    message_id = (await request).json()["id"]
    before = len(collector.spans)
    await ring.restart("host-0")
    await ring.wait_for_message(message_id, "sent")

    def of_the_successor() -> set[str]:
        """The dead host took its last spans with it: here only what came after counts."""
        wanted = {"wa.events,v1.*.message.sent send", "project", "message.sent process"}
        (trace,) = {
            span.trace
            for span in collector.spans
            if span.attributes.get("wa.message_id") == message_id
        }
        late = [span for span in collector.spans[before:] if span.trace == trace]
        names = {_hop(span)[2] for span in late}
        assert wanted <= names, names
        return names

    assert consumer.alive
    await eventually(of_the_successor, what="the trace goes on in the next host")


async def test_each_event_of_a_bundle_is_projected_in_its_own_trace(
    ring: Ring, collector: TraceCollector
) -> None:
    traces = [f"{number:032x}" for number in (1, 2)]
    body = frame_bundle(
        (0, encode(one), f"00-{trace}-00000000000000aa-01")
        for one, trace in zip(_first_events(), traces, strict=True)
    )
    async with await aio_pika.connect(ring.broker) as connection:
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(body, type=BUNDLE), PROJECTOR)

    def projected() -> bool:
        spans = [one for trace in traces for one in collector.of(trace) if one.name == "project"]
        return {(span.trace, span.parent) for span in spans} == {
            (trace, "00000000000000aa") for trace in traces
        }

    assert await eventually(projected, what="a step in each trace")


def _first_events() -> list[Envelope]:
    created = next(one for one in EXAMPLES if one.type == "session.created")
    return [
        created.model_copy(update={"session_id": SessionId(uuid4()), "session_sequence": 1})
        for _ in range(2)
    ]


async def test_what_happens_by_the_clock_is_no_trace(collector: TraceCollector) -> None:
    roots = {span.kind for span in collector.spans if not span.parent}
    assert roots == {SpanKind.SERVER}


async def test_no_span_holds_a_body_a_number_or_a_key(
    ring: Ring, session: dict[str, Any], collector: TraceCollector
) -> None:
    async with ring.client(None) as client:
        await client.get("/login", params={"key": ring.admin_key})
    await ring.admin.get("/api/messages", params={"to": TO})

    def both() -> bool:
        names = {span.name for span in collector.spans}
        return {"GET /login", "GET /api/messages"} <= names

    await eventually(both, what="the spans of both requests")
    everything = repr(collector.spans)
    for secret in (TEXT, TO, ring.admin_key, session["token"]):
        assert secret not in everything


async def test_log_lines_carry_trace_session_and_message(
    ring: Ring, session: dict[str, Any], collector: TraceCollector
) -> None:
    answer = await ring.send(session["token"], to="919876540000", type="text", message="nobody")
    assert answer.status_code == 500, answer.text
    line = await eventually(lambda: _line(ring, "send_ended"), what="the host's line")
    assert line is not None
    assert line["session_id"] == session["sessionId"]

    def traces() -> set[str]:
        return {
            span.trace
            for span in collector.spans
            if span.attributes.get("wa.message_id") == line["message_id"]
        }

    found = await eventually(traces, what="the message's trace")
    assert found == {line["trace_id"]}


def _line(ring: Ring, event: str) -> dict[str, Any] | None:
    for name in ring.processes:
        for text in ring.log(name).splitlines():
            if f'"{event}"' in text:
                found: dict[str, Any] = json.loads(text)
                return found
    return None
