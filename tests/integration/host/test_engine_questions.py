"""Questions through the engine's port: the same answers from the simulated engine and the real one."""

import pytest

from tests.integration.host.test_engine_contract import RECIPIENT, Bench, bench, link
from wa_contracts.internal.content import MessageReference
from wa_contracts.internal.questions import (
    Answer,
    CheckNumbers,
    ListGroups,
    MarkRead,
    ShowTyping,
)
from wa_session_host.engine.port import AskFailed

__all__ = ["bench"]


async def test_numbers_groups_and_signs(bench: Bench) -> None:
    _, watched, _ = await link(bench)
    ask = watched.engine.ask
    found = (await ask(CheckNumbers(numbers=(RECIPIENT, bench.nobody)))).numbers
    assert [(one.number, one.exists) for one in found] == [
        (RECIPIENT, True),
        (bench.nobody, False),
    ]
    assert (found[0].phone_number, found[0].lid) == (RECIPIENT, bench.hidden)
    assert isinstance(await ask(ListGroups()), Answer)
    of = MessageReference(message_id="3A00FF", sender=bench.hidden)
    assert await ask(MarkRead(of=of, chat=bench.hidden)) == Answer()
    assert await ask(ShowTyping(to=RECIPIENT, state="typing")) == Answer()
    await watched.stop()
    with pytest.raises(AskFailed):
        await ask(ListGroups())
