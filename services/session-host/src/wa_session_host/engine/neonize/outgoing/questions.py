"""Answers questions through one client: read marks, typing, numbers, groups."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, assert_never

from neonize.exc import NeonizeError
from neonize.proto import Neonize_pb2 as proto
from neonize.utils.enum import ChatPresence, ChatPresenceMedia, ReceiptType

from wa_contracts.internal.questions import (
    Answer,
    CheckNumbers,
    DescribeGroup,
    Group,
    ListGroups,
    MarkRead,
    NumberOf,
    Participant,
    Question,
    ShowTyping,
)
from wa_session_host.engine.neonize.outgoing.numbers import Numbers
from wa_session_host.engine.neonize.outgoing.send_errors import SendError, preparation_error
from wa_session_host.engine.neonize.translation import format_jid, parse_jid
from wa_session_host.engine.port import AskFailed, NotNow, NotSent, OutcomeUnknown, SendRefused

ASK_SECONDS = 25
"""The engine itself waits 75 s."""
STATES = {
    "typing": (ChatPresence.CHAT_PRESENCE_COMPOSING, ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT),
    "recording": (
        ChatPresence.CHAT_PRESENCE_COMPOSING,
        ChatPresenceMedia.CHAT_PRESENCE_MEDIA_AUDIO,
    ),
    "paused": (ChatPresence.CHAT_PRESENCE_PAUSED, ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT),
}


class Questions:
    """Asks for one session. `address` finds the JID of a recipient, `own` is the session's."""

    def __init__(
        self,
        client: Any,
        numbers: Numbers,
        *,
        address: Callable[[str], Awaitable[str]],
        own: Callable[[], str],
    ) -> None:
        self._client = client
        self._numbers = numbers
        self._address = address
        self._own = own

    async def answer(self, question: Question) -> Answer:
        """See `Engine.ask`."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._answer(question)
        except (SendRefused, NotNow, NotSent, OutcomeUnknown) as error:
            raise _failure(error) from error
        except NeonizeError as error:
            raise _failure(preparation_error(str(error))) from error
        except TimeoutError as error:
            raise AskFailed("whatsapp_unavailable", "WhatsApp did not answer in time.") from error

    async def _answer(self, question: Question) -> Answer:
        match question:
            case MarkRead():
                await self._mark_read(question)
                return Answer()
            case ShowTyping():
                state, media = STATES[question.state]
                to = parse_jid(await self._address(question.to))
                await self._client.send_chat_presence(to, state, media)
                return Answer()
            case CheckNumbers():
                return Answer(numbers=await self._numbers.check(question.numbers))
            case NumberOf():
                return Answer(number=await self._numbers.number_of(parse_jid(question.jid)))
            case ListGroups():
                found = await self._client.get_joined_groups()
                return Answer(groups=tuple(self._group(one) for one in found))
            case DescribeGroup():
                group = await self._client.get_group_info(parse_jid(question.jid))
                return Answer(groups=(self._group(group, with_members=True),))
            case _:
                assert_never(question)

    async def members_of(self, group: str) -> tuple[str, ...]:
        """The JIDs of a group's members but the session's own.

        Raises:
            neonize.exc.GetGroupInfoError: WhatsApp refused or failed.
        """
        found = await self._client.get_group_info(parse_jid(group))
        own = self._own().partition("@")[0]
        members = (_participant(one) for one in found.Participants)
        return tuple(one.jid for one in members if one.phone_number != own)

    async def _mark_read(self, question: MarkRead) -> None:
        chat = question.chat or question.of.sender or ""
        await self._client.mark_read(
            question.of.message_id,
            chat=parse_jid(chat),
            sender=parse_jid(question.of.sender or chat),
            receipt=ReceiptType.READ,
        )

    def _group(self, group: proto.GroupInfo, *, with_members: bool = False) -> Group:
        members = tuple(_participant(one) for one in group.Participants)
        own = self._own().partition("@")[0]
        is_admin = any(one.is_admin for one in members if one.phone_number == own)
        only_admins = group.GroupAnnounce.IsAnnounce
        return Group(
            jid=format_jid(group.JID),
            subject=group.GroupName.Name,
            participant_count=len(members),
            is_announcement=only_admins,
            can_send=is_admin or not only_admins,
            participants=members if with_members else (),
        )


def _participant(member: proto.GroupParticipant) -> Participant:
    named = {jid.Server: jid for jid in (member.LID, member.PhoneNumber, member.JID) if jid.User}
    number, lid = named.get("s.whatsapp.net"), named.get("lid")
    return Participant(
        jid=format_jid(member.JID),
        phone_number=number.User if number is not None else None,
        lid=format_jid(lid) if lid is not None else None,
        is_admin=member.IsAdmin or member.IsSuperAdmin,
    )


def _failure(error: SendError) -> AskFailed:
    code = getattr(error, "code", "whatsapp_unavailable")
    return AskFailed(code, str(error))
