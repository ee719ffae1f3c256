"""A third of many messages meets every refusal there is: all others arrive, in order per chat.

`BARRAGE_MESSAGES=1000` sends more than the suite does. An account's own restriction (463) is no
refusal of one message: see `test_refusals.py`. `python -m tests.bench.barrage` measures the time.
"""

import os
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.host.barrage import fire
from tests.integration.host.linked_session import Session, linked_session
from tests.unit.host.runner_bench import bench
from wa_session_host.domain.observations import ConnectionLost, EngineEnding

MESSAGES = int(os.environ.get("BARRAGE_MESSAGES", "150"))
pytestmark = pytest.mark.timeout(240 + 2 * MESSAGES)


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    """A session of its own."""
    async with linked_session(tmp_path, "919876543211") as made:
        yield made


async def test_a_barrage_of_refusals(session: Session, tmp_path: Path) -> None:
    session.seen.clear()
    async with bench(session.engine) as made:
        fired = await fire(session, made, tmp_path / "a.pdf", MESSAGES)
        assert made.codes() | dict.fromkeys(made.sent(), "sent") == fired.expected
        assert (made.deaf, made.reachout) == ([], [])
    assert not [one for one in session.seen if isinstance(one, ConnectionLost | EngineEnding)]
    in_order: dict[str, list[str]] = defaultdict(list)
    for number, end in fired.expected.items():
        if end == "sent":
            in_order[fired.to[number]].append(str(number))
    for recipient, texts in in_order.items():
        if "@" not in recipient:
            inbox = session.whatsapp.contact(recipient).inbox
            assert [one.text for one in inbox] == texts, recipient
