"""OpenTelemetry traces: one per request, across processes and the event store.

Off unless an OTLP endpoint is set; then the SDK is not imported and every function here is a
no-op. The libraries' instrumentations propagate the context through HTTP and Postgres,
`channel_writer` and `deliveries` through RabbitMQ. This module covers in-process queues, batches
and stored events.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import TypeVar

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SHARE_SETTING = "OTEL_TRACES_SAMPLER_ARG"
TIMEOUT_SETTING = "OTEL_EXPORTER_OTLP_TIMEOUT"
EXPORT_SECONDS = 3.0
"""A process's end waits so long for an unavailable collector."""
EXPORT_PATH = "/v1/traces"

T = TypeVar("T")

_TRACEPARENT = "traceparent"
_W3C = TraceContextTextMapPropagator()
_are_on = False
_tracer = trace.get_tracer("whatsapp-sessions")


def configure_traces(service: str, endpoint: str | None) -> bool:
    """Export this process's spans over OTLP/HTTP as `service`; return whether an endpoint is set.

    Call once, before the first connection to RabbitMQ or Postgres. `endpoint` has no path, as in
    OTEL_EXPORTER_OTLP_ENDPOINT. OpenTelemetry's other settings apply, except OTEL_TRACES_SAMPLER:
    OTEL_TRACES_SAMPLER_ARG is the share of requests.
    """
    if not endpoint:
        return False
    # Imported on demand: without an endpoint the SDK takes no memory.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from wa_runtime.traces.sampling import of_requests  # noqa: PLC0415

    provider = TracerProvider(
        sampler=of_requests(float(os.environ.get(SHARE_SETTING) or 1)),
        resource=Resource.create({"service.name": service}),
    )
    exporter = OTLPSpanExporter(
        endpoint=endpoint.rstrip("/") + EXPORT_PATH,
        timeout=float(os.environ.get(TIMEOUT_SETTING) or EXPORT_SECONDS),
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    global _are_on  # noqa: PLW0603 - read for every step of every message
    _are_on = True
    AsyncPGInstrumentor().instrument()  # type: ignore[no-untyped-call]
    return True


def is_traced(of: Context | None = None) -> bool:
    """Whether the current trace (or that of `of`) is recorded."""
    return _are_on and trace.get_current_span(of).get_span_context().trace_flags.sampled


def traceparent(of: Context | None = None) -> str | None:
    """The current trace (or that of `of`) in its stored form; None if it is not recorded."""
    if not is_traced(of):
        return None
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, of)
    return carrier.get(_TRACEPARENT)


def resumed_trace(stored: str | None) -> AbstractContextManager[None]:
    """Continue a stored trace inside the block; None keeps the current one."""
    return nullcontext() if stored is None else _resumed_trace(stored)


@contextmanager
def _resumed_trace(stored: str) -> Iterator[None]:
    token = context.attach(_W3C.extract({_TRACEPARENT: stored}, Context()))
    try:
        yield
    finally:
        context.detach(token)


def consumer_span(
    traceparent: str | None, name: str, kind: SpanKind
) -> AbstractContextManager[None]:
    """A span in the sender's trace; a no-op without one."""
    return nullcontext() if traceparent is None else _consumer_span(traceparent, name, kind)


@contextmanager
def _consumer_span(stored: str, name: str, kind: SpanKind) -> Iterator[None]:
    with _resumed_trace(stored), span(name, kind=kind):
        yield


def stored_contexts(stored: Iterable[str | None]) -> list[Context]:
    """Contexts of stored traces; empty if traces are off."""
    if not _are_on:
        return []
    return [_W3C.extract({_TRACEPARENT: one}, Context()) for one in stored if one is not None]


def span(
    name: str, ids: Mapping[str, str] = MappingProxyType({}), kind: SpanKind = SpanKind.INTERNAL
) -> AbstractContextManager[Span]:
    """A span of the current trace; a no-op without one.

    `ids` become attributes: `message_id` becomes `wa.message_id`.
    """
    if not is_traced():
        return nullcontext(trace.INVALID_SPAN)
    attributes = {f"wa.{key}": value for key, value in ids.items()}
    return _tracer.start_as_current_span(name, kind=kind, attributes=attributes)


def future_span(
    name: str, kind: SpanKind, begin: "Callable[[], asyncio.Future[T]]"
) -> "asyncio.Future[T]":
    """A span of the current trace from `begin()` to the end of its future."""
    started = _tracer.start_span(name, kind=kind)
    with trace.use_span(started):
        future = begin()

    def end(ended: "asyncio.Future[T]") -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            _mark_failed([started], error)
        started.end()

    future.add_done_callback(end)
    return future


@contextmanager
def shared_span(name: str, contexts: Iterable[Context]) -> Iterator[None]:
    """One operation as a span of several traces, such as the commit of a batch.

    Spans inside the block belong to the first trace; the others link to it.
    """
    spans: list[Span] = []
    for one in contexts:
        if is_traced(one):
            links = [Link(spans[0].get_span_context())] if spans else []
            spans.append(_tracer.start_span(name, one, links=links))
    if not spans:
        yield
        return
    try:
        with trace.use_span(spans[0], end_on_exit=False):
            yield
    except BaseException as error:
        _mark_failed(spans[1:], error)
        raise
    finally:
        for started in spans:
            started.end()


def _mark_failed(spans: Sequence[Span], error: BaseException) -> None:
    for one in spans:
        one.record_exception(error)
        one.set_status(Status(StatusCode.ERROR, type(error).__name__))
