"""A message that cannot go now waits with its chat, and lets all other chats pass."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tests.deadlines import eventually
from tests.unit.host.interleaving.whatsapp import text_seen
from tests.unit.host.runner_bench import NOON, bench, message
from wa_contracts.ids import MessageId
from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.replies import ErrorDetail
from wa_session_host.domain.observations import ReachoutLocked, ReachoutOpen
from wa_session_host.domain.set_aside import LONGEST_PAUSE, SetAside, set_aside
from wa_session_host.engine.port import NotNow, SendRefused
from wa_session_host.media.media_error import MediaError
from wa_session_host.sessions.message_queue import MessageQueue
from wa_session_host.sessions.open_message import OpenMessage

BUSY = ErrorDetail(code="rate_limited_by_whatsapp", message="Slow down.")


def test_pauses_grow_to_minutes() -> None:
    pauses, aside = [], None
    for _ in range(40):
        aside = set_aside(aside, BUSY, NOON)
        pauses.append(aside.until - NOON)
    assert pauses == sorted(pauses)
    assert pauses[0] < timedelta(seconds=10)
    assert pauses[-1] == LONGEST_PAUSE


@given(
    chats=st.lists(st.sampled_from("ABC"), max_size=20),
    steps=st.lists(st.sampled_from(["send", "aside", "later", "remove", "again"]), max_size=60),
)
def test_a_chat_keeps_its_order_whatever_is_set_aside(chats: list[str], steps: list[str]) -> None:
    queue, now, tries = MessageQueue(), NOON, 0
    for number, chat in enumerate(chats):
        queue.append(message(number, chat))
    left = dict.fromkeys(range(len(chats)))
    for step in steps:
        queue.release(now)
        if step == "later":
            now += timedelta(seconds=5)
        elif step == "remove" and left:
            queue.remove(_in(queue, next(reversed(left))))
            left.popitem()
        elif (first := queue.first) is not None:
            assert all(chats[older] != first.facts.to for older in left if older < _number(first))
            assert queue.pop_first() is first
            if step == "send":
                del left[_number(first)]
            elif step == "again":
                queue.append(first)
            else:
                tries += 1
                queue.put_aside(first, SetAside(BUSY, now + timedelta(seconds=tries), tries))
        held = {one.facts.to for one in queue.set_aside}
        assert (queue.first is not None) == any(chats[number] not in held for number in left)
        assert queue.oldest_position == min(left, default=None)
        assert len(queue) == len(left)
    queue.release()
    assert [_number(queue.pop_first()) for _ in list(left)] == list(left)
    assert (len(queue), queue.content_bytes, queue.first) == (0, 0, None)


def _in(queue: MessageQueue, number: int) -> OpenMessage:
    found = queue.get(MessageId(UUID(int=number)))
    assert found is not None
    return found


def _number(one: OpenMessage) -> int:
    return one.queued_position


async def test_a_message_that_cannot_go_now_lets_other_chats_pass() -> None:
    async with bench() as made:
        made.engine.answers["1"] = NotNow("rate_limited_by_whatsapp", "Slow down.")
        for number, to in enumerate(["1", "2", "1", "3"]):
            made.add(number, to)
        await eventually(lambda: made.sent() == [1, 3], what="the other chats are served")
        assert made.engine.tries == ["1", "2", "3"]
        [aside] = made.runner.set_aside
        assert aside.aside is not None
        assert aside.aside.error.code == "rate_limited_by_whatsapp"
        made.engine.answers.clear()
        made.pass_time()
        await eventually(lambda: made.sent() == [1, 3, 0, 2], what="the chat goes on in order")
        assert made.runner.set_aside == []


async def test_a_refusal_ends_its_message_and_no_other() -> None:
    async with bench() as made:
        made.engine.answers["1"] = SendRefused("invalid_recipient", "Malformed.")
        for number, to in enumerate(["1", "2", "1", "3"]):
            made.add(number, to)
        await eventually(lambda: len(made.runner) == 0, what="all have ended")
        assert made.sent() == [1, 3]
        assert made.codes() == {0: "invalid_recipient", 2: "invalid_recipient"}


async def test_busy_media_is_set_aside_and_absent_media_ends() -> None:
    async with bench() as made:
        made.media.fault = MediaError("media_unavailable", "It answered 503.", may_pass=True)
        made.add(0, "1", MessageType.IMAGE)
        made.add(1, "2")
        await eventually(lambda: made.sent() == [1], what="the text passes")
        made.media.fault = MediaError("media_unavailable", "It answered 404.")
        made.pass_time()
        await eventually(lambda: len(made.runner) == 0, what="the picture ends")
        assert made.codes() == {0: "media_unavailable"}


async def test_many_that_wait_are_no_deaf_connection() -> None:
    async with bench() as made:
        for number in range(5):
            made.engine.answers[str(number)] = NotNow("whatsapp_unavailable", "No answer.")
            made.add(number, str(number))
        await eventually(lambda: len(made.runner.set_aside) == 5, what="all wait")
        assert made.deaf == []


async def test_what_is_set_aside_expires_with_its_reason_and_frees_its_chat() -> None:
    async with bench() as made:
        made.engine.answers["1"] = NotNow("rate_limited_by_whatsapp", "Slow down.")
        made.add(0, "1")
        await eventually(lambda: len(made.runner.set_aside) == 1, what="it waits")
        await made.runner.expire(NOON + timedelta(hours=1))
        assert made.codes() == {0: "expired"}
        assert "Slow down." in str(made.writer.events[-1][1])
        made.engine.answers.clear()
        made.add(1, "1")
        await eventually(lambda: made.sent() == [1], what="the chat is free")


async def test_a_session_that_ends_fails_what_is_set_aside_at_once() -> None:
    async with bench() as made:
        made.engine.answers["1"] = NotNow("rate_limited_by_whatsapp", "Slow down.")
        made.add(0, "1")
        made.add(1, "1")
        await eventually(lambda: len(made.runner.set_aside) == 1, what="it waits")
        made.runner.refuse(ErrorDetail(code="session_banned", message="Banned."))
        await eventually(lambda: len(made.runner) == 0, what="all have failed")
        assert made.codes() == {0: "session_banned", 1: "session_banned"}


async def test_an_unrecognised_text_is_counted() -> None:
    async with bench() as made:
        made.engine.answers["1"] = NotNow("internal", "Something new.", unrecognised=True)
        made.add(0, "1")
        await eventually(lambda: len(made.runner.set_aside) == 1, what="it waits")
        [metric] = made.metrics.engine_errors_unrecognised.collect()
        assert metric.samples[0].value == 1


LOCK = NotNow("reachout_timelock", "No new chats.")


async def test_under_a_timelock_only_one_first_message_at_a_time_is_tried() -> None:
    async with bench() as made:
        made.known.update({"2", "3@s.whatsapp.net"})
        made.engine.answers.update(dict.fromkeys("156", LOCK))
        for number, to in enumerate(["1", "2", "5", "3", "6", "9@g.us", "1"]):
            made.add(number, to)
        await eventually(lambda: made.sent() == [1, 3, 5], what="known chats and groups go on")
        assert made.engine.tries == ["1", "2", "3", "9@g.us"]
        assert made.reachout == [ReachoutLocked()]
        codes = {one.aside.error.code for one in made.runner.set_aside if one.aside is not None}
        assert codes == {"reachout_timelock"}
        assert len(made.runner.set_aside) == 3
        made.pass_time()
        await eventually(lambda: made.engine.tries.count("1") == 2, what="the next try")
        await eventually(lambda: len(made.runner.set_aside) == 3, what="all wait again")
        assert "5" not in made.engine.tries


async def test_a_first_message_that_passes_ends_the_timelock() -> None:
    async with bench() as made:
        made.engine.answers["1"] = LOCK
        for number, to in enumerate(["1", "5", "1", "6"]):
            made.add(number, to)
        await eventually(lambda: len(made.runner.set_aside) == 3, what="all wait")
        made.engine.answers.clear()
        made.pass_time()
        await eventually(lambda: len(made.runner) == 0, what="all are sent")
        assert sorted(made.sent()) == [0, 1, 2, 3]
        assert made.sent().index(0) < made.sent().index(2)
        assert made.reachout == [ReachoutLocked(), ReachoutOpen()]


async def test_who_writes_under_a_timelock_gets_an_answer() -> None:
    async with bench() as made:
        made.engine.answers["1"] = LOCK
        made.add(0, "1")
        await eventually(lambda: len(made.runner.set_aside) == 1, what="it waits")
        made.runner.first_messages.is_met(replace(text_seen("hi"), sender_number="5"))
        made.add(1, "5")
        await eventually(lambda: made.sent() == [1], what="the answer is sent")
        assert made.reachout == [ReachoutLocked()]


async def test_a_number_and_its_lid_are_one_chat() -> None:
    async with bench() as made:
        made.engine.numbers["70001@lid"] = "1"
        made.engine.answers["1"] = NotNow("rate_limited_by_whatsapp", "Slow down.")
        for number, to in enumerate(["1", "70001@lid", "2", "1@s.whatsapp.net", "70001@lid"]):
            made.add(number, to)
        await eventually(lambda: made.sent() == [2], what="the other chat is served")
        assert made.engine.tries == ["1", "2"]
        made.engine.answers.clear()
        made.pass_time()
        await eventually(lambda: made.sent() == [2, 0, 1, 3, 4], what="the chat goes on in order")


async def test_a_lid_that_is_known_later_waits_as_a_chat_of_its_own_until_then() -> None:
    async with bench() as made:
        busy = NotNow("rate_limited_by_whatsapp", "Slow down.")
        made.engine.answers.update({"1": busy, "70001@lid": busy})
        for number, to in enumerate(["70001@lid", "1", "70001@lid", "1"]):
            made.add(number, to)
        await eventually(lambda: len(made.runner.set_aside) == 2, what="both wait")
        made.engine.numbers["70001@lid"] = "1"
        made.engine.answers.clear()
        made.pass_time()
        await eventually(lambda: made.sent() == [0, 1, 2, 3], what="all are sent in order")
