"""Looks up the WhatsApp account of a phone number before the first message to it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wa_session_host.engine.neonize.outgoing.send_errors import UNAVAILABLE
from wa_session_host.engine.port import NotNow

REMEMBERED = 10_000
ABSENT_FOR_SECONDS = 120.0
"""A number without an account is not looked up again for so long."""
PATIENCE_SECONDS = 2.0
"""A message waits so long for WhatsApp's answer; then others go first."""


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
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """`ask` queries WhatsApp; `clock` is monotonic, in seconds."""
        self._ask = ask
        self._clock = clock
        self._patience = patience
        self._asking: dict[str, asyncio.Task[_CachedAccount]] = {}
        self._answers: OrderedDict[str, _CachedAccount] = OrderedDict()

    async def find(self, number: str) -> Account | None:
        """The account of a number (digits); None if the number is not on WhatsApp.

        An answer that comes late is kept for the next call.

        Raises NotNow if WhatsApp does not answer soon, and the errors of `ask`.
        """
        known = self._answers.get(number)
        if known is None or self._is_old(known):
            known = await self._asked(number)
        self._answers.move_to_end(number)
        return known.found

    async def _asked(self, number: str) -> _CachedAccount:
        asking = self._asking.get(number)
        if asking is None:
            asking = self._asking[number] = asyncio.create_task(self._query(number))
            asking.add_done_callback(_heard)
        done, _ = await asyncio.wait({asking}, timeout=self._patience)
        if not done:
            raise NotNow(UNAVAILABLE, "WhatsApp has not said yet whose number this is.")
        return asking.result()

    async def _query(self, number: str) -> _CachedAccount:
        try:
            answer = _CachedAccount(await self._ask(number), self._clock())
        finally:
            del self._asking[number]
        self._answers[number] = answer
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    def _is_old(self, answer: _CachedAccount) -> bool:
        return answer.found is None and self._clock() > answer.asked_at + ABSENT_FOR_SECONDS


def _heard(asking: "asyncio.Task[_CachedAccount]") -> None:
    """Nobody may wait for a late answer any more: its error is no defect."""
    if not asking.cancelled():
        asking.exception()
