"""Looks up the WhatsApp account of a phone number before the first message to it."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

REMEMBERED = 10_000
ABSENT_FOR_SECONDS = 120.0
"""A number without an account is not looked up again for so long."""


@dataclass(frozen=True)
class Account:
    """A WhatsApp account: the JID to send to, and its number in digits.

    `number` is None if WhatsApp names the account only by a JID that hides the number.
    """

    jid: str
    number: str | None


@dataclass(frozen=True)
class _CachedAccount:
    found: Account | None
    asked_at: float


class AccountLookup:
    """Caches WhatsApp's answers for the engine's lifetime."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Account | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` queries WhatsApp; `clock` is monotonic, in seconds."""
        self._ask = ask
        self._clock = clock
        self._answers: OrderedDict[str, _CachedAccount] = OrderedDict()

    async def find(self, number: str) -> Account | None:
        """The account of a number (digits); None if the number is not on WhatsApp.

        Raises the errors of `ask`.
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
