"""A consumer as others write them with the library, with OpenTelemetry set up: one line an event."""

import asyncio
import sys

from opentelemetry import trace

from wa_contracts.consumer import subscribe
from wa_runtime.traces import configure_traces

EVENT = "message.sent"
QUEUE = "traced-consumer"


async def main(broker: str) -> None:
    async for event in subscribe(broker, EVENT, queue=QUEUE):
        span = trace.get_current_span().get_span_context()
        print(f"{event.correlation_id} {span.trace_id:032x}", flush=True)


if __name__ == "__main__":
    configure_traces("event-consumer", sys.argv[1])
    asyncio.run(main(sys.argv[2]))
