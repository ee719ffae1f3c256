"""One send by the engine, as the event that records its outcome."""

import structlog
from opentelemetry.trace import SpanKind

from wa_contracts.session_events import Event
from wa_runtime.fault_points import FaultPoint, reach
from wa_runtime.traces import span
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Facts
from wa_session_host.engine.port import (
    Engine,
    NotNow,
    NotSent,
    OutcomeUnknown,
    OutgoingMessage,
    SendRefused,
)
from wa_session_host.metrics import HostMetrics

log = structlog.get_logger()


async def send_outcome(
    facts: Facts, outgoing: OutgoingMessage, engine: Engine | None, metrics: HostMetrics
) -> Event:
    """Send the message; without an engine its send is deferred."""
    reach(FaultPoint.SEND_STARTED)
    if engine is None:
        return domain.MessageSendDeferred(reason="The connection was lost before the send.")
    try:
        with span("WhatsApp send", kind=SpanKind.CLIENT) as current:
            acknowledged = await engine.send(outgoing)
            current.set_attribute("wa.whatsapp_id", acknowledged.message_id)
        reach(FaultPoint.ENGINE_CALLED)
    except NotSent as error:
        return domain.MessageSendDeferred(reason=str(error))
    except NotNow as error:
        _count_unrecognised(error, metrics)
        return domain.MessageSendDeferred(reason=str(error), code=error.code)
    except SendRefused as error:
        return domain.failed(facts, error.code, str(error))
    except OutcomeUnknown as error:
        _count_unrecognised(error, metrics)
        return domain.outcome_unknown(facts, str(error))
    return domain.sent(facts, acknowledged.message_id, acknowledged.at, number=acknowledged.number)


def _count_unrecognised(error: NotNow | OutcomeUnknown, metrics: HostMetrics) -> None:
    if error.unrecognised:
        log.error("engine_error_unrecognised", error=str(error))
        metrics.engine_errors_unrecognised.inc()
