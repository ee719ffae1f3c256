"""Whose a telephone number is, by asking WhatsApp: before the first message to it, not by a send."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

REMEMBERED = 10_000
ABSENT_FOR_SECONDS = 3600.0
"""So long a number that was not on WhatsApp is not asked about again."""


@dataclass(frozen=True)
class Account:
    """An account as WhatsApp names it: the JID to send to, and its number in digits.

    WhatsApp may tell an account by a JID alone that hides the number; then `number` is None.
    """

    jid: str
    number: str | None


@dataclass(frozen=True)
class _CachedAccount:
    found: Account | None
    asked_at: float


class AccountLookup:
    """Remembers what WhatsApp said, for as long as the engine lives."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Account | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` puts the question to WhatsApp; `clock` is monotonic, in seconds."""
        self._ask = ask
        self._clock = clock
        self._answers: OrderedDict[str, _CachedAccount] = OrderedDict()

    async def find(self, number: str) -> Account | None:
        """The account that a number (digits) belongs to; None if it is not on WhatsApp.

        Raises what `ask` raises.
        """
        known = self._answers.get(number)
        if known is None or self._is_old(known):
            known = _CachedAccount(await self._ask(number), self._clock())
            self._answers[number] = known
        self._answers.move_to_end(number)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return known.found

    def _is_old(self, answer: _CachedAccount) -> bool:
        return answer.found is None and self._clock() > answer.asked_at + ABSENT_FOR_SECONDS
