"""Routes that ask WhatsApp: which numbers have an account, and the session's groups."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field

from wa_api.access.callers import MaySend, MaySendOrRead
from wa_api.http.documented import errors, json_body
from wa_api.http.models import Body, Text, View
from wa_api.http.paging import Page
from wa_api.http.parts import Part
from wa_api.http.problems import Problem
from wa_api.http.request_body import read_json
from wa_api.owners.requests import OwnerRefused
from wa_api.sessions.questions import SessionQuestions
from wa_contracts.internal import questions
from wa_contracts.internal.questions import CheckNumbers, DescribeGroup, ListGroups

router = APIRouter(prefix="/api", tags=["numbers and groups"])

_NUMBER = re.compile(r"[1-9][0-9]{6,14}")
_GROUP = re.compile(r"[0-9]{5,20}(-[0-9]{5,20})?@g\.us")
_ABSENT = frozenset({"group_not_found", "not_in_group"})

SessionOf = Annotated[
    UUID | None, Query(alias="sessionId", description="Required, except with a session's token.")
]


class NumbersToCheck(Body):
    """Numbers in digits, with country code. `sessionId` is required, except with a session's token."""

    numbers: Annotated[
        list[Annotated[Text, Field(max_length=64)]],
        Field(min_length=1, max_length=50, examples=[["919876543210"]]),
    ]
    session_id: UUID | None = None


class NumberCheck(View):
    """Whether a number has an account. `jid` is its address, `lid` the one that hides the number."""

    number: str
    exists: bool
    phone_number: str | None = None
    jid: str | None = None
    lid: str | None = None


class Group(View):
    """A group. `can_send`: WhatsApp takes this session's messages to it."""

    jid: str
    subject: str
    participant_count: int
    is_announcement: bool
    can_send: bool


class Participant(View):
    """A member of a group."""

    jid: str
    phone_number: str | None
    lid: str | None
    is_admin: bool


class GroupWithParticipants(Group):
    """A group and its members."""

    participants: list[Participant]


@router.post(
    "/numbers/check",
    summary="Which numbers are on WhatsApp",
    responses=errors(400, 401, 403, 404, 408, 409, 413, 415, 500, 503),
    openapi_extra=json_body(NumbersToCheck),
)
async def check_numbers(
    request: Request, asking: Part[SessionQuestions], caller: MaySend
) -> list[NumberCheck]:
    """At most 50 numbers, answered in their order. Malformed ones do not exist.

    Answers are kept: for an hour, or for 5 minutes where the number has no account. A session
    asks about 100 numbers at once and 60 a minute; over that the answer is 429.
    """
    wanted = await read_json(request, NumbersToCheck)
    session_id = caller.one_session(wanted.session_id)
    known = tuple(dict.fromkeys(one for one in wanted.numbers if _NUMBER.fullmatch(one)))
    answer = await asking.ask(session_id, CheckNumbers(numbers=known))
    found = {one.number: one for one in answer.numbers}
    absent = {one: questions.NumberCheck(number=one, exists=False) for one in wanted.numbers}
    told = (found.get(one) or absent[one] for one in wanted.numbers)
    return [NumberCheck(**one.model_dump(by_alias=False)) for one in told]


@router.get(
    "/groups",
    summary="The session's groups",
    responses=errors(400, 401, 403, 404, 409, 500, 503),
)
async def list_groups(
    asking: Part[SessionQuestions], caller: MaySendOrRead, session_id: SessionOf = None
) -> Page[Group]:
    """All groups that the session is in, on one page. The answer may be a minute old."""
    answer = await asking.ask(caller.one_session(session_id), ListGroups())
    return Page(items=[_group(one) for one in answer.groups])


@router.get(
    "/groups/{jid}",
    summary="One group with its participants",
    responses=errors(400, 401, 403, 404, 409, 500, 503),
)
async def get_group(
    jid: Text, asking: Part[SessionQuestions], caller: MaySendOrRead, session_id: SessionOf = None
) -> GroupWithParticipants:
    """A group that the session is in. The answer may be a minute old."""
    if not _GROUP.fullmatch(jid):
        raise Problem("group_not_found", "A group's JID is digits and @g.us.", status=404)
    try:
        answer = await asking.ask(caller.one_session(session_id), DescribeGroup(jid=jid))
    except OwnerRefused as error:
        if error.error.code not in _ABSENT:
            raise
        raise Problem(error.error.code, error.error.message, status=404) from error
    [group] = answer.groups
    members = [Participant(**one.model_dump(by_alias=False)) for one in group.participants]
    return GroupWithParticipants(**_group(group).model_dump(by_alias=False), participants=members)


def _group(group: questions.Group) -> Group:
    return Group(**group.model_dump(by_alias=False, exclude={"participants"}))
