"""A receipt turns an unknown outcome into sent only if no doubt is left."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from wa_contracts.ids import MessageId
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.replies import ErrorDetail
from wa_session_host.domain.message import Facts, Unknown
from wa_session_host.domain.observations import ReceiptSeen
from wa_session_host.domain.proof import proven

STARTED = datetime(2026, 1, 2, 3, 4, 5, 700_000, tzinfo=UTC)
OURS = "3EB0601DAAF2EF6BE85000"
NUMBER = "919876543210"
BY_NUMBER = f"{NUMBER}@s.whatsapp.net"
LID = "100200300@lid"


def unknown(number: int = 1, to: str = NUMBER, started_at: datetime = STARTED) -> Unknown:
    """A message that nobody knows the end of."""
    facts = Facts(MessageId(UUID(int=number)), to, MessageType.TEXT, None, STARTED)
    return Unknown(facts, ErrorDetail(code="outcome_unknown", message="?"), started_at)


def receipt(*chats: str, at: datetime = STARTED + timedelta(seconds=5)) -> ReceiptSeen:
    """A delivery receipt."""
    return ReceiptSeen(chats or (LID, BY_NUMBER), (OURS,), "delivered", at=at)


@pytest.mark.parametrize("to", [NUMBER, BY_NUMBER, LID])
def test_the_only_candidate_of_the_chat_is_proven(to: str) -> None:
    message = unknown(to=to)
    found = proven(receipt(), (OURS,), [message, unknown(2, to="12345678900")])
    assert found is not None
    state, event = found
    assert state is message
    assert (event.id, event.message_id, event.sent_at) == (message.facts.id, OURS, STARTED)


def test_receipts_carry_whole_seconds() -> None:
    assert proven(receipt(at=STARTED.replace(microsecond=0)), (OURS,), [unknown()]) is not None


@pytest.mark.parametrize(
    ("seen", "unknown_ids", "candidates"),
    [
        (receipt(), (OURS,), []),
        (receipt(), (OURS,), [unknown(1), unknown(2)]),
        (receipt(), (OURS, OURS[:-1] + "1"), [unknown()]),
        (receipt(), (), [unknown()]),
        (receipt(), ("3A1B2C3D4E5F60718293",), [unknown()]),
        (receipt(), (OURS + "AA",), [unknown()]),
        (receipt("12345678900@s.whatsapp.net"), (OURS,), [unknown()]),
        (receipt(LID), (OURS,), [unknown()]),
        (receipt(at=STARTED - timedelta(seconds=1)), (OURS,), [unknown()]),
    ],
    ids=[
        "nothing is unknown",
        "two candidates",
        "two ids",
        "no id",
        "another engine's id",
        "an id of another length",
        "another chat",
        "the number of the chat is not known",
        "before the send began",
    ],
)
def test_with_any_doubt_nothing_is_proven(
    seen: ReceiptSeen, unknown_ids: tuple[str, ...], candidates: list[Unknown]
) -> None:
    assert proven(seen, unknown_ids, candidates) is None
