"""A loopback OTLP collector: takes spans over HTTP as a real one does, and keeps them."""

import gzip
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.trace import SpanKind

from deploy.servers.ports import free_port

TO_SDK_KIND = 1
"""OTLP counts kinds from 1, with 0 for unspecified; the SDK from 0."""


@dataclass(frozen=True)
class SeenSpan:
    """One exported span. Ids are hexadecimal; `parent` is empty for a root."""

    service: str
    name: str
    kind: SpanKind
    trace: str
    id: str
    parent: str
    links: frozenset[str]
    attributes: dict[str, Any]


class TraceCollector:
    """What was exported to `endpoint` so far."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.spans: list[SeenSpan] = []

    async def take(self, request: web.Request) -> web.Response:
        """The exporter's call."""
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        exported = ExportTraceServiceRequest.FromString(body)
        for resource in exported.resource_spans:
            service = str(_values(resource.resource.attributes)["service.name"])
            self.spans.extend(
                SeenSpan(
                    service=service,
                    name=span.name,
                    kind=SpanKind(span.kind - TO_SDK_KIND),
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    links=frozenset(link.span_id.hex() for link in span.links),
                    attributes=_values(span.attributes),
                )
                for scope in resource.scope_spans
                for span in scope.spans
            )
        return web.Response()

    def of(self, trace: str) -> list[SeenSpan]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace == trace]


@asynccontextmanager
async def collecting() -> AsyncIterator[TraceCollector]:
    """A collector for the block."""
    collector = TraceCollector(free_port())
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        port = int(collector.endpoint.rpartition(":")[2])
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield collector
    finally:
        await runner.cleanup()


def _values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in attributes:
        kind = one.value.WhichOneof("value")
        found[one.key] = getattr(one.value, kind) if kind else None
    return found
