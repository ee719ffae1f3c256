"""One send by the engine, as the event that records its outcome."""

from opentelemetry.trace import SpanKind

from wa_contracts.session_events import Event
from wa_runtime.fault_points import FaultPoint, reach
from wa_runtime.traces import span
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Facts
from wa_session_host.engine.port import (
    Engine,
    NotSent,
    OutcomeUnknown,
    OutgoingMessage,
    SendRefused,
)


async def send_outcome(facts: Facts, outgoing: OutgoingMessage, engine: Engine | None) -> Event:
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
    except SendRefused as error:
        return domain.failed(facts, error.code, str(error))
    except OutcomeUnknown as error:
        return domain.outcome_unknown(facts, str(error))
    return domain.sent(facts, acknowledged.message_id, acknowledged.at, number=acknowledged.number)
