"""An edit and a deletion are sends: once, in order, and told together with their ack."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from tests.unit.host.interleaving.installation import VirtualInstallation, installation
from tests.unit.host.interleaving.virtual_time import run
from wa_contracts.ids import MessageId, SessionId
from wa_contracts.internal.commands import (
    MessageType,
    ResendMessage,
    SendMessage,
    StopSession,
)
from wa_contracts.internal.content import Change, MessageReference, Parts
from wa_contracts.message_events import MessageEdited, MessageFailed, MessageRevoked

PAUSE_SECONDS = 1.0
CHANGE = MessageId(UUID(int=9))
TO = "919876543210"
WINDOW = timedelta(minutes=15)


def change(
    made: VirtualInstallation, kind: MessageType, target: MessageId, *, within: timedelta = WINDOW
) -> None:
    """Ask for a change of a message, which must go out within that time."""
    of = MessageReference(message_id="3EB000000001", id=target)
    made.sent.append((made.sessions[0], CHANGE))
    made.texts[CHANGE] = "new text"
    made.command(
        SendMessage,
        made.sessions[0],
        message_id=CHANGE,
        to=TO,
        message_type=kind,
        text="new text",
        parts=Parts(change=Change(of=of, of_type="text")),
        fingerprint="f",
        life=within,
    )


async def sent_text(made: VirtualInstallation) -> tuple[SessionId, MessageId]:
    """A message that WhatsApp acknowledged."""
    made.send(made.sessions[0])
    await asyncio.sleep(PAUSE_SECONDS)
    [message_id] = made.outcomes()
    return made.sessions[0], message_id


@pytest.mark.parametrize("kind", [MessageType.EDIT, MessageType.REVOKE])
def test_the_ack_tells_the_change_of_the_message_in_the_same_append(kind: MessageType) -> None:
    async def changed() -> None:
        async with installation(sessions=1, partitions=1) as made:
            _, target = await sent_text(made)
            change(made, kind, target)
            await asyncio.sleep(PAUSE_SECONDS)
            told = [one.event for one in made.database.events if one.stream.endswith(str(CHANGE))]
            last = told[-1]
            assert isinstance(last, MessageEdited | MessageRevoked)
            assert (last.id, last.chat, last.from_me) == (target, f"{TO}@s.whatsapp.net", True)
            assert told[-2].TYPE == "message.sent"
            assert (last.TYPE == "message.edited") is (kind is MessageType.EDIT)
            assert "new text" not in last.model_dump_json()

    run(changed())


def test_an_edit_that_waits_too_long_never_goes_out() -> None:
    async def late() -> None:
        async with installation(sessions=1, partitions=1) as made:
            session, target = await sent_text(made)
            made.command(StopSession, session)
            await asyncio.sleep(PAUSE_SECONDS)
            change(made, MessageType.EDIT, target, within=timedelta(seconds=5))
            await asyncio.sleep(10)
            last = [one.event for one in made.database.events if one.stream.endswith(str(CHANGE))]
            assert isinstance(last[-1], MessageFailed)
            assert last[-1].error.code == "edit_window_over"
            assert made.whatsapp.received["new text"] == 0

    run(late())


def test_a_failed_edit_is_not_sent_again() -> None:
    """Its time would begin anew."""

    async def refused() -> None:
        async with installation(sessions=1, partitions=1) as made:
            session, target = await sent_text(made)
            made.whatsapp.fates.append("refused")
            change(made, MessageType.EDIT, target)
            await asyncio.sleep(PAUSE_SECONDS)
            new = MessageId(UUID(int=10))
            made.command(ResendMessage, session, message_id=new, resend_of=CHANGE)
            await asyncio.sleep(PAUSE_SECONDS)
            error = made.broker.replies[-1].error
            assert error is not None
            assert error.code == "not_resendable"
            assert not [row for row in made.database.events if row.stream.endswith(str(new))]

    run(refused())


def test_an_edit_after_the_window_is_refused() -> None:
    async def over() -> None:
        async with installation(sessions=1, partitions=1) as made:
            _, target = await sent_text(made)
            change(made, MessageType.EDIT, target, within=timedelta(seconds=-1))
            await asyncio.sleep(PAUSE_SECONDS)
            [failed] = [
                one.event for one in made.database.events if one.stream.endswith(str(CHANGE))
            ]
            assert isinstance(failed, MessageFailed)
            assert failed.error.code == "edit_window_over"

    run(over())
