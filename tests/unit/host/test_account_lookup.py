"""WhatsApp is asked once about a number; one that was not there is asked about again later."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.deadlines import eventually
from wa_session_host.engine.neonize.outgoing import account_lookup
from wa_session_host.engine.neonize.outgoing.account_lookup import Account, AccountLookup
from wa_session_host.engine.port import NotNow

HERE = Account("1@lid", "919876543210")


@dataclass
class WhatsApp:
    """Knows some numbers, and what it was asked."""

    knows: dict[str, Account] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    now: float = 0.0

    async def ask(self, number: str) -> Account | None:
        """Whose it is."""
        self.asked.append(number)
        return self.knows.get(number)


async def test_an_answer_is_kept_and_an_absence_for_minutes() -> None:
    whatsapp = WhatsApp({"1": HERE})
    known = AccountLookup(whatsapp.ask, clock=lambda: whatsapp.now)
    for _ in range(2):
        assert await known.find("1") == HERE
        assert await known.find("2") is None
    assert whatsapp.asked == ["1", "2"]
    whatsapp.knows["2"] = HERE
    whatsapp.now = account_lookup.ABSENT_FOR_SECONDS + 1
    assert await known.find("1") == HERE
    assert await known.find("2") == HERE
    assert whatsapp.asked == ["1", "2", "2"]


async def test_memory_is_bounded() -> None:
    whatsapp = WhatsApp()
    known = AccountLookup(whatsapp.ask, clock=lambda: 0.0)
    for number in range(account_lookup.REMEMBERED + 10):
        await known.find(str(number))
    assert len(known._answers) == account_lookup.REMEMBERED
    await known.find("0")  # the oldest was forgotten
    assert whatsapp.asked.count("0") == 2


async def test_a_late_answer_holds_up_nobody_and_is_kept() -> None:
    answers, asked = asyncio.Event(), []

    async def ask(number: str) -> Account:
        asked.append(number)
        await answers.wait()
        return HERE

    known = AccountLookup(ask, patience=0.01)
    for _ in range(2):
        with pytest.raises(NotNow) as refused:
            await known.find("1")
        assert refused.value.code == "whatsapp_unavailable"
    answers.set()
    await eventually(partial(_is_found, known), what="the late answer is kept")
    assert asked == ["1"]


async def _is_found(known: AccountLookup) -> bool:
    try:
        return await known.find("1") == HERE
    except NotNow:
        return False
