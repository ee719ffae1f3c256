"""Trace sampling. Importing this module imports OpenTelemetry's SDK."""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    DEFAULT_OFF,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


def of_requests(share: float) -> Sampler:
    """Start traces for a share (0 to 1) of HTTP requests only; never drop a started trace.

    Periodic work, such as lease renewals, would start thousands of traces of one span.
    """
    return ParentBased(_Requests(share))


class _Requests(Sampler):
    def __init__(self, share: float) -> None:
        self._of_requests = TraceIdRatioBased(share)

    def should_sample(  # noqa: PLR0917 - as OpenTelemetry calls it
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        sampler = self._of_requests if kind is SpanKind.SERVER else DEFAULT_OFF
        return sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        return f"Requests({self._of_requests.get_description()})"
