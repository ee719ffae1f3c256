"""Traces by OpenTelemetry: one for each request, over every process and the event store.

Off unless an OTLP endpoint is named; then nothing of the SDK is imported, and what stands here and
in OpenTelemetry's API does nothing. The libraries' own instrumentations carry the context through
HTTP and Postgres, `channel_writer` and `deliveries` through RabbitMQ; here is what none of them can
know: where a process passes work on by a queue of its own, by a batch, or by a stored event.
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
"""For so long the end of a process may wait for a collector that is away."""
EXPORT_PATH = "/v1/traces"

T = TypeVar("T")

_TRACEPARENT = "traceparent"
_W3C = TraceContextTextMapPropagator()
_are_on = False
_tracer = trace.get_tracer("whatsapp-sessions")


def configure_traces(service: str, endpoint: str | None) -> bool:
    """Send this process's spans to an OTLP endpoint (over HTTP) as those of `service`, if there is one.

    Whether there is. To be called once, before the first connection to RabbitMQ or Postgres.
    `endpoint` is without a path, as in OTEL_EXPORTER_OTLP_ENDPOINT; OpenTelemetry's other settings
    hold too, OTEL_TRACES_SAMPLER apart: OTEL_TRACES_SAMPLER_ARG is the share of requests.
    """
    if not endpoint:
        return False
    # Not at the top: who names no endpoint has nothing of it in memory.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from wa_runtime.sampling import of_requests  # noqa: PLC0415

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
    global _are_on  # noqa: PLW0603 - asked at every step of every message
    _are_on = True
    AsyncPGInstrumentor().instrument()  # type: ignore[no-untyped-call]
    return True


def is_traced(of: Context | None = None) -> bool:
    """Whether a trace is kept of what is done now (or in another context)."""
    return _are_on and trace.get_current_span(of).get_span_context().trace_flags.sampled


def traceparent(of: Context | None = None) -> str | None:
    """The present trace (or that of another context) as it is stored; None where none is kept."""
    if not is_traced(of):
        return None
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, of)
    return carrier.get(_TRACEPARENT)


def resumed_trace(stored: str | None) -> AbstractContextManager[None]:
    """Go on with a stored trace during the block; None goes on with what there is."""
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
    """The step of what came in that trace, if there is one."""
    return nullcontext() if traceparent is None else _consumer_span(traceparent, name, kind)


@contextmanager
def _consumer_span(stored: str, name: str, kind: SpanKind) -> Iterator[None]:
    with _resumed_trace(stored), span(name, kind=kind):
        yield


def stored_contexts(stored: Iterable[str | None]) -> list[Context]:
    """The contexts of stored traces; none, at no cost, in a process that keeps no traces."""
    if not _are_on:
        return []
    return [_W3C.extract({_TRACEPARENT: one}, Context()) for one in stored if one is not None]


def span(
    name: str, ids: Mapping[str, str] = MappingProxyType({}), kind: SpanKind = SpanKind.INTERNAL
) -> AbstractContextManager[Span]:
    """A step of the present trace, which what is done in the block belongs to; nothing without one.

    `ids` become attributes: `message_id` that of the name `wa.message_id`.
    """
    if not is_traced():
        return nullcontext(trace.INVALID_SPAN)
    attributes = {f"wa.{key}": value for key, value in ids.items()}
    return _tracer.start_as_current_span(name, kind=kind, attributes=attributes)


def future_span(
    name: str, kind: SpanKind, begin: "Callable[[], asyncio.Future[T]]"
) -> "asyncio.Future[T]":
    """A step of the present trace, from what is begun to the end of the future that it gives."""
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
    """One piece of work that is a step of several traces, such as the commit of a batch.

    Each gets a span. What the block does in turn belongs to the first; the others link to it.
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
