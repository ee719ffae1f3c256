"""The span of an event in the program that handles it."""

from collections.abc import Iterator
from contextlib import contextmanager

from aio_pika.abc import AbstractIncomingMessage
from opentelemetry import context, propagate, trace
from opentelemetry.trace import SpanKind

from wa_contracts.envelope import Envelope


@contextmanager
def traced(message: AbstractIncomingMessage, event: Envelope) -> Iterator[None]:
    """Run the loop's body in a span of the event's trace, until the next event is requested.

    Restores the previous context instead of detaching a token, which is invalid when the garbage
    collector closes the generator in another context.
    """
    before = context.get_current()
    span = trace.get_tracer(__name__).start_span(
        f"{event.type} process",
        propagate.extract(message.headers, before),
        SpanKind.CONSUMER,
        {
            "messaging.system": "rabbitmq",
            "messaging.message.id": str(event.id),
            "wa.session_id": str(event.session_id),
        },
    )
    context.attach(trace.set_span_in_context(span, before))
    try:
        yield
    finally:
        context.attach(before)
        span.end()
