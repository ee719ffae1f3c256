"""`Idempotent-Replayed` tells a repeat from a command that was published twice, by reply and table."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from wa_api.messages.send_request import SendRequest
from wa_api.messages.sending import Queued, Refused, Sending, SendOptions, SendResult, Sent
from wa_api.owners.host_clock import HostClock
from wa_api.owners.pending_replies import PendingReplies
from wa_contracts.ids import SessionId
from wa_contracts.internal.commands import SendMessage
from wa_contracts.internal.replies import ErrorDetail, MessageSnapshot, MessageStatus, Reply

SESSION = SessionId(UUID(int=1))


class Owner:
    """Replies to a command, or loses its first reply and has the message in the api's table."""

    def __init__(
        self,
        pending: PendingReplies,
        *,
        copies: int = 1,
        earlier: UUID | None = None,
        reply_lost: bool = True,
        refusal: ErrorDetail | None = None,
        conflict: ErrorDetail | None = None,
    ) -> None:
        self._pending = pending
        self._copies = copies
        self._earlier = earlier
        self._reply_lost = reply_lost
        self._refusal = refusal
        self._conflict = conflict
        self._stored: MessageSnapshot | None = None

    async def publish(self, command: SendMessage, *, deadline: float) -> int:
        """The copies that were published."""
        self._stored = MessageSnapshot(
            id=command.message_id,
            message_id=None if self._refusal else "3EB0",
            status=MessageStatus.FAILED if self._refusal else MessageStatus.SENT,
            error=self._refusal,
            correlation_id=self._earlier or command.correlation_id,
        )
        if self._reply_lost:
            self._reply_lost = False
            self._pending.interrupt_to_reread()
        elif self._conflict is not None:
            self._pending.deliver_reply(Reply(command_id=command.id, error=self._conflict))
        else:
            self._pending.deliver_reply(Reply(command_id=command.id, message=self._stored))
        return self._copies

    async def snapshot(self, message_id: object, session_id: object) -> MessageSnapshot | None:
        """The message as the api's table has it."""
        return self._stored


class SilentOwner(Owner):
    """Answers no second time."""

    async def publish(self, command: SendMessage, *, deadline: float) -> int:
        """The copies that were published."""
        return await super().publish(command, deadline=deadline) if self._reply_lost else 1


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("earlier", [None, uuid4()], ids=["its own", "an earlier request's"])
@pytest.mark.parametrize("reply_lost", [False, True], ids=["reply", "table"])
async def test_an_answer_is_replayed_if_an_earlier_request_made_the_message(
    copies: int, earlier: UUID | None, reply_lost: bool
) -> None:
    pending = PendingReplies()
    owner = Owner(pending, copies=copies, earlier=earlier, reply_lost=reply_lost)
    result = await send(owner, pending, key="k")
    assert result.outcome == Sent("3EB0")
    assert result.replayed is (earlier is not None)


LOGGED_OUT = ErrorDetail(code="session_logged_out", message="The session is logged out.")


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_lost_refusal_of_this_request_is_its_answer(key: str | None) -> None:
    pending = PendingReplies()
    owner = Owner(pending, refusal=LOGGED_OUT)
    assert (await send(owner, pending, key=key)).outcome == Refused(LOGGED_OUT)


CONFLICT = ErrorDetail(code="idempotency_conflict", message="Another body.")


async def test_a_lost_conflict_is_no_replay() -> None:
    """The table has the outcome of the earlier request; only the owner knows its body."""
    pending = PendingReplies()
    owner = Owner(pending, earlier=uuid4(), conflict=CONFLICT)
    assert (await send(owner, pending, key="k")).outcome == Refused(CONFLICT)


async def test_without_the_owner_an_earlier_request_answers_nothing() -> None:
    """Its session may have been linked again since, its body may be another one."""
    pending = PendingReplies()
    owner = SilentOwner(pending, refusal=LOGGED_OUT, earlier=uuid4())
    assert (await send(owner, pending, key="k", wait_seconds=0.05)).outcome == Queued()


async def send(
    owner: Owner, pending: PendingReplies, *, key: str | None, wait_seconds: float = 10
) -> SendResult:
    """Send a text, and wait for its outcome."""
    views: Any = owner
    sending = Sending(
        look_up=views,
        bus=views,
        pending=pending,
        views=views,
        reply_to="reply.test",
        wait_seconds=wait_seconds,
        clock=HostClock(),
    )
    request = SendRequest.model_validate({"to": "919876543210", "type": "text", "message": "hi"})
    options = SendOptions(idempotency_key=key, respond_async=False, expires_in=timedelta(hours=1))
    return await sending.send(SESSION, request, options)
