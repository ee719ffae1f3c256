"""The reason why a message waits reaches the api by heartbeats, and is gone with its host."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from wa_api.owners.liveness import HostLiveness
from wa_contracts.codec import decode_heartbeat
from wa_contracts.ids import MessageId
from wa_contracts.internal.heartbeat import Heartbeat, WaitingMessage
from wa_contracts.internal.replies import ErrorDetail

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MESSAGE = MessageId(UUID(int=7))
WAITING = WaitingMessage(
    id=MESSAGE,
    error=ErrorDetail(code="rate_limited_by_whatsapp", message="Slow down."),
    next_try_at=NOON + timedelta(seconds=5),
)


def heartbeat(*waiting: WaitingMessage) -> Heartbeat:
    """Of a host with one partition, read from its JSON."""
    made = Heartbeat(
        host="a",
        sent_at=NOON,
        partitions=(1,),
        sessions=1,
        good_for_seconds=6,
        waiting=waiting,
    )
    return decode_heartbeat(made.model_dump_json().encode())


def test_a_reason_lasts_until_the_next_heartbeat_or_the_hosts_end() -> None:
    now = [0.0]
    liveness = HostLiveness(lambda: now[0])
    liveness.record(heartbeat(WAITING))
    assert liveness.waiting_of(MESSAGE) == WAITING
    assert liveness.waiting_of(UUID(int=8)) is None
    liveness.record(heartbeat())
    assert liveness.waiting_of(MESSAGE) is None
    liveness.record(heartbeat(WAITING))
    now[0] = 7.0
    assert liveness.waiting_of(MESSAGE) is None


def test_a_heartbeat_of_an_older_host_names_none() -> None:
    old = heartbeat().model_dump(mode="json", by_alias=True)
    del old["waiting"]
    assert Heartbeat.model_validate(old).waiting == ()
