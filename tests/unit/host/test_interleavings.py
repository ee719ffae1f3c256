"""Hosts keep their promises whatever comes between whatever: Hypothesis chooses, a model judges.

Hypothesis reports the plan of a failure; `--hypothesis-seed=N` repeats a run. INTERLEAVINGS sets the
number of plans. The plans given as examples are faults that hosts once had.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.unit.host.interleaving.database import FAULTS, KINDS, UNSTORABLE
from tests.unit.host.interleaving.installation import (
    HEALING_SECONDS,
    SETTLE_SECONDS,
    TAKEOVER_SECONDS,
    VirtualInstallation,
    installation,
)
from tests.unit.host.interleaving.virtual_time import run
from tests.unit.host.interleaving.whatsapp import FATES
from wa_contracts.ids import MessageId
from wa_contracts.internal.commands import (
    DeleteSession,
    LogOutSession,
    RestartSession,
    StopSession,
)
from wa_session_host.domain import session as session_domain

PAUSES = (0.0, 0.0005, 0.0015, 0.004, 0.03, 0.1, 0.6, 3.0, 12.0)
LIFECYCLE = {
    "stop": StopSession,
    "restart": RestartSession,
    "log out": LogOutSession,
    "delete": DeleteSession,
}

Step = tuple[str, ...]

sessions = st.sampled_from("012")
lifecycle = st.sampled_from(sorted(LIFECYCLE))
errors = st.sampled_from(sorted(FAULTS))
kinds = st.sampled_from(KINDS)
pauses = st.sampled_from([str(one) for one in PAUSES]).map(lambda seconds: ("wait", seconds))
starts = st.sampled_from(["0.02", "5"]).map(lambda seconds: ("host start", seconds))
kills = st.sampled_from(["with engines", "alone"]).map(lambda engines: ("host kill", engines))
sends = sessions.map(lambda number: ("send", number))

steps: st.SearchStrategy[Step] = st.one_of(
    pauses,
    sends,
    st.sampled_from(
        [
            ("repeat",),
            ("cancel",),
            ("database back",),
            ("broker cut",),
            ("broker away",),
            ("broker back",),
            ("host stop",),
        ]
    ),
    st.tuples(lifecycle, sessions),
    st.tuples(st.just("fate"), st.sampled_from(FATES)),
    st.tuples(st.just("engine crash"), sessions),
    st.tuples(
        st.just("arrival"), sessions, st.sampled_from(["hello", "a\x00b", "\ud800", UNSTORABLE])
    ),
    st.tuples(st.just("fault"), kinds, st.sampled_from(["slow", *sorted(FAULTS)])),
    st.tuples(st.just("outage"), errors),
    starts,
    kills,
)

phrases: st.SearchStrategy[tuple[Step, ...]] = st.one_of(
    steps.map(lambda step: (step,)),
    # A commit in doubt, and an error while it is.
    st.tuples(
        st.just(("fault", "append", "lost")),
        errors.map(lambda error: ("fault", "append", error)),
        sends,
        pauses,
        sends,
    ),
    # A queued message of a stopped session, a slow load, and the load's host dies.
    st.tuples(
        sessions.map(lambda number: ("stop", number)),
        st.just(("wait", "0.1")),
        sends,
        pauses,
        kills,
        *[st.just(("fault", "load", "slow"))] * 2,  # one for each partition
        starts,
        st.just(("wait", "12.0")),
        pauses,
        kills,
    ),
    # A command while an engine starts.
    st.tuples(
        kills,
        st.just(("host start", "5")),
        st.just(("wait", "12.0")),
        st.tuples(lifecycle, sessions),
    ),
    # A host that joins, and an end of the host that hands over to it.
    st.tuples(
        starts, st.just(("fate", "slow ack")), sends, sends, pauses, pauses, st.just(("host stop",))
    ),
)
STOP_TWO_QUEUED: list[Step] = [("stop", "2"), ("wait", "0.1"), ("send", "2"), ("send", "2")]
SEND_SLOWLY: list[Step] = [("fate", "slow ack"), ("send", "0")]
RESTART_SLOWLY: list[Step] = [("host kill", "alone"), ("host start", "5"), ("wait", "12.0")]

plans = st.lists(phrases, min_size=3, max_size=12).map(
    lambda found: [step for phrase in found for step in phrase]
)


async def carry_out(installation: VirtualInstallation, step: Step) -> None:
    """One step of a plan."""
    if step[0] in {*LIFECYCLE, "engine crash"}:
        installation.uncertain.add(installation.sessions[int(step[1])])
    elif step[0] in {"fault", "outage"} or step[-1] in {"ack lost", "crash"}:
        installation.uncertain.update(installation.sessions)
    match step:
        case ("wait", seconds):
            await asyncio.sleep(float(seconds))
        case ("send", number):
            installation.send(installation.sessions[int(number)])
        case ("repeat",) if installation.sent:
            session, message_id = installation.sent[-1]
            installation.send(session, message_id)
        case ("cancel",) if installation.sent:
            installation.cancel(*installation.sent[-1])
        case ("fate", fate):
            installation.whatsapp.fates.append(fate)  # type: ignore[arg-type]
        case ("engine crash", number):
            if engine := installation.whatsapp.live.get(installation.sessions[int(number)]):
                engine.crash()
        case ("arrival", number, text):
            if engine := installation.whatsapp.live.get(installation.sessions[int(number)]):
                engine.receive(text)
        case ("fault", kind, fault):
            installation.database.faults[kind].append(fault)
        case ("outage", fault):
            installation.database.outage = fault
        case ("database back",):
            installation.database.outage = None
        case ("broker cut",):
            installation.broker.cut_connections(stay_down=False)
        case ("broker away",):
            installation.broker.cut_connections(stay_down=True)
        case ("broker back",):
            installation.broker.restore()
        case ("host start", seconds):
            installation.start_host(engine_seconds=float(seconds))
        case ("host stop",):
            installation.stop_host()
        case ("host kill", engines) if installation.hosts:
            installation.kill_host(installation.hosts[0], with_engines=engines == "with engines")
        case (kind, number) if kind in LIFECYCLE:
            installation.command(LIFECYCLE[kind], installation.sessions[int(number)])


async def settle(installation: VirtualInstallation) -> None:
    """Everything works again, at last on a host that knows only what is stored."""
    installation.database.outage = None
    installation.database.faults.clear()
    installation.broker.restore()
    if all(host.is_leaving for host in installation.hosts):
        installation.start_host()
    await asyncio.sleep(HEALING_SECONDS)
    installation.whatsapp.fates.clear()
    for message_id, outcome in installation.outcomes().items():
        if installation.session_of(message_id) not in installation.uncertain:
            assert outcome != "message.unknown", "nothing happened that hides an outcome"
    for session in installation.whatsapp.live:
        assert session_domain.should_run(installation.state(session)), f"{session} has an engine"
    for host in list(installation.hosts):
        installation.kill_host(host, with_engines=True)
    installation.start_host(engine_seconds=0)
    await _ready_under_traffic(installation)
    for session in installation.sessions:
        installation.command(RestartSession, session)
    await asyncio.sleep(SETTLE_SECONDS)


async def _ready_under_traffic(installation: VirtualInstallation) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TAKEOVER_SECONDS
    number = 0
    while not installation.is_ready:
        number += 1
        for engine in installation.whatsapp.live.values():
            engine.receive(f"busy {number}")
        await asyncio.sleep(0.001)
        assert loop.time() < deadline, "messages that arrive keep a partition from being ready"


def judge(installation: VirtualInstallation) -> None:
    """What the gateway promises."""
    whatsapp = installation.whatsapp
    for message_id, outcome in installation.outcomes().items():
        text = installation.texts[message_id]
        assert outcome is not None or installation.is_forgotten(message_id), f"{text} has no end"
        assert whatsapp.received[text] <= 1, f"{text} was sent twice"
        if outcome == "message.sent":
            assert text in whatsapp.acknowledged, f"{text} is sent without an ack"
        if outcome in {"message.failed", "message.cancelled"}:
            assert whatsapp.received[text] == 0, f"{text} is {outcome}, but it was sent"
    _judge_order(installation)
    assert not whatsapp.twice, "two engines of one session"
    assert not installation.broker.dead, "a command was given up"
    assert not any(installation.broker.queues.values()), "commands wait"
    _judge_events(installation)
    for session in installation.sessions:
        state = installation.state(session)
        engine = whatsapp.live.get(session)
        assert (engine is not None) == session_domain.should_run(state), (session, state)
        assert engine is None or engine.link == session_domain.link_of(state), (session, state)


def _judge_order(installation: VirtualInstallation) -> None:
    """The messages of a chat reach WhatsApp in the order in which they were queued."""
    chats: defaultdict[object, list[str]] = defaultdict(list)
    for row in sorted(installation.database.events, key=lambda row: row.position):
        if row.type == "message.queued":
            message_id = MessageId(UUID(row.stream.removeprefix("message-")))
            chat = row.session_id, installation.recipient_of(message_id)
            chats[chat].append(installation.texts[message_id])
    arrived = list(installation.whatsapp.received)
    for texts in chats.values():
        order = [arrived.index(text) for text in texts if text in arrived]
        assert order == sorted(order), f"{texts} arrived as {arrived}"


def _judge_events(installation: VirtualInstallation) -> None:
    """Every public event is published, in the order of its session, without a gap."""
    stored: defaultdict[object, list[object]] = defaultdict(list)
    for row in sorted(installation.database.events, key=lambda row: row.session_sequence or 0):
        if row.session_sequence is not None:
            stored[row.session_id].append(row.id)
    published: defaultdict[object, dict[object, int]] = defaultdict(dict)
    for event in installation.broker.published:
        published[event.session_id].setdefault(event.id, event.session_sequence)
    for session, ids in stored.items():
        assert list(published[session]) == ids, f"{session}: events are missing or out of order"
        assert list(published[session].values()) == list(range(1, len(ids) + 1))


async def _carried_out(plan: Sequence[Step]) -> None:
    async with installation() as made:
        for step in plan:
            await carry_out(made, step)
        await settle(made)
        judge(made)


@settings(
    max_examples=int(os.environ.get("INTERLEAVINGS", "25")),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # tracing is slow
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@example([("arrival", "0", UNSTORABLE), ("arrival", "0", "a\x00b"), ("wait", "0.1"), ("send", "0")])
@example([*RESTART_SLOWLY, ("stop", "0"), ("wait", "12.0")])
@example([*RESTART_SLOWLY, ("log out", "0"), ("wait", "12.0")])
@example(
    [("stop", "0"), ("wait", "0.1"), ("send", "0"), ("wait", "0.1"), ("send", "1")]
    + [("wait", "3.0"), ("host kill", "alone")]
    + [("fault", "load", "slow")] * 2
    + [("host start", "0.02"), ("wait", "12.0"), ("wait", "0.6"), ("host kill", "alone")]
)
@example([*STOP_TWO_QUEUED, ("host start", "0.02"), *SEND_SLOWLY, ("wait", "1.2"), ("host stop",)])
@example([("fault", "append", "lost"), ("fault", "append", "read-only"), ("send", "0")])
@example(  # a restart between an engine's login and its observation
    [
        *[("host start", "0.02"), ("host kill", "with engines"), ("host start", "5")],
        *[("fate", "slow ack"), ("send", "0"), ("send", "0"), ("host stop",)],
    ]
)
@example([("outage", "full"), ("send", "0"), ("wait", "3.0")])
@given(plans)
def test_hosts_keep_their_promises(plan: list[Step]) -> None:
    run(_carried_out(plan))
