"""`Idempotent-Replayed` tells a repeat from a command whose confirm was lost and that was sent twice."""

from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from wa_api.messages.send_request import SendRequest
from wa_api.messages.sending import Sending, SendOptions, Sent
from wa_api.owners.pending_replies import PendingReplies
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import SendMessage
from wa_contracts.internal.replies import MessageSnapshot, MessageStatus, Reply

SESSION = SessionId(UUID(int=1))


class Bus:
    """Publishes so many copies of a command, and answers as its owner would."""

    def __init__(self, pending: PendingReplies, *, copies: int, earlier: UUID | None) -> None:
        self._pending = pending
        self._copies = copies
        self._earlier = earlier

    async def publish(self, command: SendMessage, *, deadline: float) -> int:
        """The reply of an owner that knows the message."""
        snapshot = MessageSnapshot(
            id=command.message_id,
            message_id="3EB0",
            status=MessageStatus.SENT,
            correlation_id=self._earlier or command.correlation_id,
        )
        self._pending.deliver_reply(Reply(command_id=command.id, message=snapshot))
        return self._copies


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("earlier", [None, uuid4()], ids=["its own", "an earlier request's"])
async def test_an_answer_is_replayed_if_an_earlier_request_made_the_message(
    copies: int, earlier: UUID | None
) -> None:
    pending = PendingReplies()
    bus = Bus(pending, copies=copies, earlier=earlier)
    sending = Sending(
        bus=cast("Any", bus),
        pending=pending,
        views=cast("Any", None),
        reply_to="reply.test",
        wait_seconds=10,
    )
    request = SendRequest.model_validate({"to": "919876543210", "type": "text", "message": "hi"})
    options = SendOptions(idempotency_key="k", respond_async=False, expires_in=timedelta(hours=1))
    result = await sending.send(SESSION, request, options)
    assert result.outcome == Sent("3EB0")
    assert result.replayed is (earlier is not None)
