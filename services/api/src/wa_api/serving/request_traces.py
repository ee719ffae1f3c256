"""A span per HTTP request, named by its route's pattern and without the query."""

from typing import Any

from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.trace import Span

LEFT_OUT = "/livez,/readyz,/static/.*"
"""Polled routes, without spans."""
_WITH_QUERY = ("http.url", "http.target", "url.full", "url.query")


def trace_requests(app: FastAPI) -> None:
    FastAPIInstrumentor.instrument_app(
        app,
        excluded_urls=LEFT_OUT,
        exclude_spans=["send", "receive"],
        server_request_hook=_without_query,
    )


def _without_query(span: Span, scope: dict[str, Any]) -> None:
    """Remove the query, which may contain the login link's key or a phone number."""
    if not span.is_recording() or not scope.get("query_string"):
        return
    attributes: dict[str, Any] = dict(getattr(span, "attributes", None) or {})
    for name in _WITH_QUERY:
        if name in attributes:
            cut = "" if name == "url.query" else str(attributes[name]).partition("?")[0]
            span.set_attribute(name, cut)
