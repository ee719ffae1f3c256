"""What a client asks of a session's engine beside sends: media, and questions to WhatsApp."""

import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from wa_contracts.internal.questions import (
    Answer,
    CheckNumbers,
    DescribeGroup,
    Group,
    ListGroups,
    NumberCheck,
    Question,
)
from wa_contracts.session_events import SessionStatus
from wa_session_host.domain.allowance import Allowance
from wa_session_host.domain.observations import ReceivedMedia
from wa_session_host.engine.port import AskFailed, DownloadFailed, Engine

NUMBERS_PER_MINUTE, NUMBERS_AT_ONCE = 60, 100
"""Numbers that a session may ask WhatsApp about. Mass checks get numbers banned."""
GROUPS_PER_MINUTE, GROUPS_AT_ONCE = 10, 10
"""Queries about groups."""
NUMBERS_KEPT = 1000
PRESENT_SECONDS, ABSENT_SECONDS, GROUP_SECONDS = 3600.0, 300.0, 60.0
"""How long an answer is good: a number with an account, one without, a group."""
TOO_MANY = "This session asks WhatsApp too much. Too many questions get a number banned."


class EngineCalls:
    """Calls of one session's engine, which must work. Answers are kept for a while."""

    def __init__(
        self,
        current: Callable[[], tuple[Engine | None, SessionStatus | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`current` tells the engine, None unless it is logged in, and the status.

        `clock` is monotonic, in seconds.
        """
        self._current = current
        self._clock = clock
        self._numbers: OrderedDict[str, tuple[float, NumberCheck]] = OrderedDict()
        self._groups: dict[str, tuple[float, tuple[Group, ...]]] = {}
        self._number_queries = Allowance(NUMBERS_PER_MINUTE, NUMBERS_AT_ONCE)
        self._group_queries = Allowance(GROUPS_PER_MINUTE, GROUPS_AT_ONCE)

    async def download(self, media: ReceivedMedia, path: Path) -> None:
        """See `Engine.download`. Fails unless the session works."""
        engine, status = self._current()
        if engine is None:
            problem = f"Media comes through a working session. This one is {status}: try later."
            raise DownloadFailed(f"session_{status or 'deleted'}", problem)
        await engine.download(media, path)

    async def ask(self, question: Question) -> Answer:
        """See `Engine.ask`. Fails unless the session works.

        Raises:
            AskFailed: also `rate_limited`, over the session's allowance.
        """
        engine, status = self._current()
        if engine is None:
            problem = f"Only a working session can ask WhatsApp. This one is {status}: try later."
            raise AskFailed(f"session_{status or 'deleted'}", problem)
        match question:
            case CheckNumbers():
                return Answer(numbers=await self._check(engine, question.numbers))
            case ListGroups() | DescribeGroup():
                return Answer(groups=await self._describe(engine, question))
            case _:
                return await engine.ask(question)

    async def _check(self, engine: Engine, numbers: tuple[str, ...]) -> tuple[NumberCheck, ...]:
        now = self._clock()
        known = {
            number: check
            for number in numbers
            if (kept := self._numbers.get(number)) is not None and kept[0] > now
            for check in (kept[1],)
        }
        wanted = tuple(dict.fromkeys(one for one in numbers if one not in known))
        if wanted:
            _take(self._number_queries, len(wanted), now)
            for check in (await engine.ask(CheckNumbers(numbers=wanted))).numbers:
                known[check.number] = check
                self._keep(check, now)
        absent = {one: NumberCheck(number=one, exists=False) for one in wanted}
        return tuple(known.get(one) or absent[one] for one in numbers)

    def _keep(self, check: NumberCheck, now: float) -> None:
        life = PRESENT_SECONDS if check.exists else ABSENT_SECONDS
        self._numbers[check.number] = (now + life, check)
        self._numbers.move_to_end(check.number)
        if len(self._numbers) > NUMBERS_KEPT:
            self._numbers.popitem(last=False)

    async def _describe(
        self, engine: Engine, question: ListGroups | DescribeGroup
    ) -> tuple[Group, ...]:
        now = self._clock()
        self._groups = {key: kept for key, kept in self._groups.items() if kept[0] > now}
        key = question.jid if isinstance(question, DescribeGroup) else ""
        if key not in self._groups:
            _take(self._group_queries, 1, now)
            groups = (await engine.ask(question)).groups
            self._groups[key] = now + GROUP_SECONDS, groups
        return self._groups[key][1]


def _take(allowance: Allowance, units: int, now: float) -> None:
    seconds = allowance.take(units, now)
    if seconds:
        raise AskFailed("rate_limited", TOO_MANY, retry_after_seconds=seconds)
