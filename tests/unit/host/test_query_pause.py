"""Queries about numbers pause after WhatsApp limited one."""

import pytest

from wa_session_host.engine.neonize.outgoing.query_pause import (
    FIRST_SECONDS,
    LONGEST_SECONDS,
    QueryPause,
)
from wa_session_host.engine.port import NotNow


def test_pauses_double_up_to_minutes_and_begin_anew_after_an_answer() -> None:
    now = [100.0]
    pause = QueryPause(lambda: now[0])
    pause.check()
    lengths = []
    for _ in range(10):
        pause.limited()
        before = now[0]
        while pause.is_on:
            with pytest.raises(NotNow, match="next query goes in") as refused:
                pause.check()
            assert refused.value.code == "rate_limited_by_whatsapp"
            now[0] += 1
        lengths.append(now[0] - before)
    assert lengths[:3] == [FIRST_SECONDS, FIRST_SECONDS * 2, FIRST_SECONDS * 4]
    assert lengths[-1] == LONGEST_SECONDS
    pause.answered()
    pause.limited()
    now[0] += FIRST_SECONDS
    pause.check()
