"""A command of the operator lives for a day, and one that nobody confirmed is no success."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from pydantic import SecretStr

from wa_api.audit import Actor, ActorKind
from wa_api.owners.command_bus import ConfirmLost
from wa_api.owners.host_clock import HostClock
from wa_api.owners.pending_replies import PendingReplies
from wa_api.owners.requests import OwnerRequests
from wa_api.sessions.lifecycle import SessionLifecycle
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.commands import (
    AskWhatsApp,
    CancelMessage,
    CreateSession,
    DeleteSession,
    FetchMedia,
    LogOutSession,
    RequestPairingCode,
    ResendMessage,
    RestartSession,
    SessionCommand,
    StopSession,
)
from wa_contracts.internal.questions import ListGroups

SESSION = SessionId(UUID(int=1))
OPERATOR = Actor(ActorKind.ADMIN_KEY, "admin key", "127.0.0.1")
MESSAGE = MessageId(UUID(int=2))
DAY, HALF_A_MINUTE = timedelta(hours=24), timedelta(seconds=30)


class Bus:
    """A broker that takes commands and confirms none."""

    def __init__(self) -> None:
        self.published: list[SessionCommand] = []

    async def publish(self, command: SessionCommand, *, deadline: float) -> int:
        """Taken, perhaps."""
        self.published.append(command)
        raise ConfirmLost


class Rows:
    """The api's tables: what stands here was committed."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        self._written: list[str] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Committed at the end, unless an error leaves the block."""
        self._written = []
        yield
        self.committed += self._written

    async def issue(self, *_: object) -> SecretStr:
        """A token."""
        self._written.append("issued")
        return SecretStr("token")

    async def revoke(self, *_: object) -> bool:
        """Also one that is revoked already."""
        self._written.append("revoked")
        return True

    async def record(self, *_: object) -> None:
        """In the audit log."""
        self._written.append("noted")

    async def session(self, _: object) -> object:
        """It exists."""
        return SimpleNamespace()


def owner_requests(bus: Any) -> OwnerRequests:
    return OwnerRequests(
        bus=bus,
        pending=PendingReplies(),
        applied_sequence=cast("Any", None),
        reply_to="reply.test",
        clock=HostClock(),
    )


@pytest.mark.parametrize(
    ("kind", "fields", "life"),
    [
        (CreateSession, {}, DAY),
        (RestartSession, {}, DAY),
        (StopSession, {}, DAY),
        (LogOutSession, {}, DAY),
        (DeleteSession, {}, DAY),
        (CancelMessage, {"message_id": MESSAGE}, DAY),
        (ResendMessage, {"message_id": MESSAGE, "resend_of": MESSAGE}, DAY),
        (RequestPairingCode, {"phone_number": "15550001111"}, HALF_A_MINUTE),
        (AskWhatsApp, {"question": ListGroups()}, HALF_A_MINUTE),
        (FetchMedia, {"message_id": MESSAGE, "queue": "q"}, HALF_A_MINUTE),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_command_lives_until_a_host_returns_and_a_question_as_long_as_its_caller(
    kind: type[SessionCommand], fields: dict[str, Any], life: timedelta
) -> None:
    command = owner_requests(Bus()).command(kind, SESSION, **fields)
    assert command.expires_at - command.issued_at == life


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def lifecycle(rows: Rows) -> SessionLifecycle:
    any_rows = cast("Any", rows)
    return SessionLifecycle(
        database=any_rows,
        credentials=any_rows,
        requests=owner_requests(Bus()),
        views=any_rows,
        audit=any_rows,
    )


@pytest.mark.parametrize("kind", [RestartSession, StopSession, LogOutSession])
async def test_a_command_without_a_confirm_is_no_success(
    lifecycle: SessionLifecycle, rows: Rows, kind: type[SessionCommand]
) -> None:
    with pytest.raises(ConfirmLost):
        await lifecycle.perform(OPERATOR, kind, SESSION)
    assert rows.committed == ["noted"]


async def test_a_deletion_without_a_confirm_revokes_the_token_and_is_no_success(
    lifecycle: SessionLifecycle, rows: Rows
) -> None:
    for _ in range(2):  # a repeat is published, too
        with pytest.raises(ConfirmLost):
            await lifecycle.delete(OPERATOR, SESSION)
    assert rows.committed == ["revoked", "noted", "revoked", "noted"]


async def test_a_session_created_without_a_confirm_has_its_token_and_is_no_success(
    lifecycle: SessionLifecycle, rows: Rows
) -> None:
    """The session may come to be: then the token is shown by a look-up."""
    with pytest.raises(ConfirmLost):
        await lifecycle.create(OPERATOR, "shop")
    assert rows.committed == ["issued", "noted"]
