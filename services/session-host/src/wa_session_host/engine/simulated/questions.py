"""What the simulated WhatsApp knows: every number but those that end with 0000, and two groups."""

from typing import assert_never

from wa_contracts.internal.questions import (
    Answer,
    CheckNumbers,
    DescribeGroup,
    Group,
    ListGroups,
    MarkRead,
    NumberCheck,
    NumberOf,
    Participant,
    Question,
    ShowTyping,
)
from wa_session_host.engine.port import AskFailed

_MEMBERS = tuple(
    Participant(
        jid=f"{number}@s.whatsapp.net",
        phone_number=str(number),
        lid=f"{number + 1}@lid",
        is_admin=number == 12345678900,
    )
    for number in (12345678900, 447911123456, 919876543210)
)
GROUPS = tuple(
    Group(
        jid=f"12036300000000000{number}@g.us",
        subject=subject,
        participant_count=len(_MEMBERS),
        is_announcement=is_announcement,
        can_send=not is_announcement,
        participants=_MEMBERS,
    )
    for number, subject, is_announcement in ((1, "Team", False), (2, "News", True))
)


def simulated_answer(question: Question) -> Answer:
    """WhatsApp's answer.

    Raises:
        AskFailed: `group_not_found`.
    """
    match question:
        case MarkRead() | ShowTyping():
            return Answer()
        case CheckNumbers():
            return Answer(numbers=tuple(_check(one) for one in question.numbers))
        case NumberOf():  # the inverse of the LIDs below
            lid = question.jid.partition("@")[0]
            return Answer(number=str(int(lid) - 1) if lid.isdecimal() else None)
        case ListGroups():
            without = (one.model_copy(update={"participants": ()}) for one in GROUPS)
            return Answer(groups=tuple(without))
        case DescribeGroup():
            found = tuple(one for one in GROUPS if one.jid == question.jid)
            if not found:
                raise AskFailed("group_not_found", "There is no such group.")
            return Answer(groups=found)
        case _:
            assert_never(question)


def as_whatsapp_writes(number: str) -> str:
    """The number of the account that this number means."""
    return number[:4] + number[5:] if number.endswith("0006") else number


def _check(number: str) -> NumberCheck:
    if number.endswith("0000"):
        return NumberCheck(number=number, exists=False)
    written = as_whatsapp_writes(number)
    return NumberCheck(
        number=number,
        exists=True,
        phone_number=written,
        jid=f"{written}@s.whatsapp.net",
        lid=f"{int(written) + 1}@lid",
    )
