"""One send by the engine, as the event that records its outcome."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry.trace import SpanKind
from structlog.contextvars import bind_contextvars

from wa_contracts.ids import SessionId
from wa_contracts.internal.questions import NumberOf
from wa_contracts.message_events import MessageFailed, MessageOutcomeUnknown
from wa_contracts.session_events import Event
from wa_runtime.fault_points import FaultPoint, reach
from wa_runtime.traces import resumed_trace, span
from wa_session_host.domain import message as domain
from wa_session_host.domain.message import Facts, MessageSendDeferred
from wa_session_host.engine.port import (
    AskFailed,
    Engine,
    NotNow,
    NotSent,
    OutcomeUnknown,
    OutgoingMessage,
    SendRefused,
)
from wa_session_host.metrics import HostMetrics
from wa_session_host.sessions.open_message import OpenMessage

log = structlog.get_logger()


DEAF_AFTER = 2
"""After so many sends in a row without an ack the connection is deaf."""


class Hearing:
    """Counts sends in a row without an ack."""

    def __init__(self) -> None:
        self._unacknowledged = 0

    def is_lost_with(self, outcome: Event) -> bool:
        """Log an end. Whether the connection is deaf; then the count begins anew."""
        match outcome:
            case MessageSendDeferred():
                return False
            case MessageOutcomeUnknown():
                log.warning("send_ended", outcome=outcome.TYPE)
                self._unacknowledged = (self._unacknowledged + 1) % DEAF_AFTER
                return self._unacknowledged == 0
            case MessageFailed():
                log.info("send_ended", outcome=outcome.TYPE, code=outcome.error.code)
        self._unacknowledged = 0
        return False


@contextmanager
def delivering(session_id: SessionId, message: OpenMessage) -> Iterator[None]:
    """Trace and log lines of this task name the message; the task sends one at a time."""
    ids = {"session_id": str(session_id), "message_id": str(message.facts.id)}
    bind_contextvars(**ids)
    with resumed_trace(message.traceparent), span("deliver", ids):
        yield


async def send_outcome(
    facts: Facts, outgoing: OutgoingMessage, engine: Engine | None, metrics: HostMetrics
) -> Event:
    """Send the message; without an engine its send is deferred."""
    reach(FaultPoint.SEND_STARTED)
    if engine is None:
        return MessageSendDeferred(reason="The connection was lost before the send.")
    try:
        with span("WhatsApp send", kind=SpanKind.CLIENT) as current:
            acknowledged = await engine.send(outgoing)
            current.set_attribute("wa.whatsapp_id", acknowledged.message_id)
        reach(FaultPoint.ENGINE_CALLED)
    except NotSent as error:
        return MessageSendDeferred(reason=str(error))
    except NotNow as error:
        _count_unrecognised(error, metrics)
        return MessageSendDeferred(reason=str(error), code=error.code)
    except SendRefused as error:
        return domain.failed(facts, error.code, str(error))
    except OutcomeUnknown as error:
        _count_unrecognised(error, metrics)
        return domain.outcome_unknown(facts, str(error))
    return domain.sent(facts, acknowledged.message_id, acknowledged.at, number=acknowledged.number)


async def number_of(to: str, engine: Engine | None) -> str | None:
    """The number of a recipient that is given by LID; None if nobody knows it, or of any other."""
    if engine is None or not to.endswith("@lid"):
        return None
    try:
        return (await engine.ask(NumberOf(jid=to))).number
    except AskFailed:
        return None


def _count_unrecognised(error: NotNow | OutcomeUnknown, metrics: HostMetrics) -> None:
    if error.unrecognised:
        log.error("engine_error_unrecognised", error=str(error))
        metrics.engine_errors_unrecognised.inc()
