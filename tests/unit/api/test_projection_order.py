"""Which events are due: each once, in order, over gaps that retention left and behind a late feed."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from wa_api.projecting.order import Arrival, EarlyArrivals, Order
from wa_api.projecting.tables.checkpoints import Checkpoint
from wa_contracts.examples import EXAMPLES

SESSION = UUID(int=1)


def arrival(sequence: int, predecessor: int | None = None) -> Arrival:
    """An event of the session that cannot be read: only its place matters here."""
    before = sequence - 1 if predecessor is None else predecessor
    return Arrival(SESSION, sequence, before, None)


JSON = "{}"


def published(sequence: int) -> Arrival:
    """The same, as hosts publish it when it happens."""
    return arrival(sequence)._replace(json=JSON)


def order(at: Checkpoint) -> Order:
    """The order of one session from there."""
    return Order({SESSION: at})


def due(given_order: Order, arrivals: Sequence[Arrival]) -> list[int]:
    """The sequences that are due, in that order."""
    before = len(given_order.due)
    given_order.add(arrivals)
    return [one.sequence for one in given_order.due[before:]]


def test_the_next_one_is_due_and_one_behind_a_gap_is_not() -> None:
    now = order(Checkpoint(3, 3))
    assert due(now, [arrival(4), arrival(6)]) == [4]
    assert now.checkpoints[SESSION] == Checkpoint(applied=4, seen=6)


def test_a_replay_over_what_retention_removed_is_due() -> None:
    now = order(Checkpoint(3, 9))
    assert due(now, [arrival(7, 3), arrival(9, 7)]) == [7, 9]
    assert now.checkpoints[SESSION] == Checkpoint(applied=9, seen=9)


def test_a_replay_is_due_although_its_predecessor_is_long_past() -> None:
    assert due(order(Checkpoint(5, 9)), [arrival(9, 2)]) == [9]


def test_the_same_event_live_and_replayed_takes_the_way_that_is_open() -> None:
    now = order(Checkpoint(3, 9))
    assert due(now, [arrival(9), arrival(9, 3)]) == [9]
    assert now.known == 1


def test_what_is_known_is_passed_over() -> None:
    now = order(Checkpoint(5, 5))
    assert due(now, [arrival(5), arrival(2), arrival(5, 1)]) == []
    assert now.known == 3


def test_what_only_the_feed_lacks_is_not_projected_again() -> None:
    now = order(Checkpoint(applied=5, seen=5, fed=3))
    events = [EXAMPLES[0].model_copy(update={"session_sequence": n}) for n in range(3, 7)]
    now.add(Arrival.of(event)._replace(session_id=SESSION) for event in events)
    assert [one.sequence for one in now.due] == [4, 5, 6]
    assert [event.session_sequence for event in now.projects[SESSION]] == [6]
    assert now.checkpoints[SESSION] == Checkpoint(applied=6, seen=6, fed=None)


def test_the_feed_catches_up_in_order_before_anything_new_is_applied() -> None:
    now = order(Checkpoint(applied=5, seen=5, fed=3))
    assert due(now, [arrival(6), arrival(5)]) == []
    assert now.checkpoints[SESSION] == Checkpoint(applied=5, seen=6, fed=3)
    assert due(now, [arrival(4)]) == [4, 5, 6]


@given(
    stored=st.sets(st.integers(1, 30), min_size=1),
    data=st.data(),
)
def test_a_replay_in_any_order_ends_with_all_that_is_stored(
    stored: set[int], data: st.DataObject
) -> None:
    sequences = sorted(stored)
    replay = [
        arrival(sequence, before)
        for before, sequence in zip([0, *sequences], sequences, strict=False)
    ]
    shuffled = data.draw(st.permutations(replay + replay))
    now = order(Checkpoint())
    assert due(now, shuffled) == sequences
    assert now.checkpoints[SESSION].applied == sequences[-1]


def test_what_came_early_is_due_in_the_batch_that_closes_the_gap() -> None:
    early = EarlyArrivals()
    first = Order({SESSION: Checkpoint()}, early)
    assert due(first, [published(3), published(4)]) == []
    assert first.ahead == 2
    first.keep_early()
    second = Order({SESSION: Checkpoint(0, 4)}, early)
    assert due(second, [published(1), published(2)]) == [1, 2, 3, 4]
    assert second.ahead == 0
    second.keep_early()
    assert early.of(SESSION) == {}


def test_what_came_early_and_is_known_meanwhile_is_passed_over() -> None:
    early = EarlyArrivals()
    early.keep(SESSION, {3: published(3), 6: published(6)})
    now = Order({SESSION: Checkpoint(4, 6)}, early)
    assert due(now, [published(5)]) == [5, 6]


def test_a_batch_that_was_not_stored_keeps_what_came_early() -> None:
    early = EarlyArrivals()
    early.keep(SESSION, {2: published(2)})
    lost = Order({SESSION: Checkpoint()}, early)
    assert due(lost, [published(1)]) == [1, 2]
    assert set(early.of(SESSION)) == {2}


def test_of_what_came_early_the_newest_is_kept_up_to_a_size() -> None:
    early = EarlyArrivals(limit=3 * len(JSON))
    other = UUID(int=2)
    early.keep(SESSION, {2: published(2), 3: published(3)})
    early.keep(other, {7: published(7)._replace(session_id=other)})
    early.keep(SESSION, {**early.of(SESSION), 4: published(4)})
    assert set(early.of(SESSION)) == {3, 4}
    assert set(early.of(other)) == {7}
    early.keep(SESSION, {9: arrival(9)})
    assert early.of(SESSION) == {}, "its size is not known"


@given(st.data())
def test_batches_in_any_order_end_with_all_that_is_stored(data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations([published(n) for n in range(1, 13)]))
    early, checkpoint, projected = EarlyArrivals(), Checkpoint(), []
    while shuffled:
        size = data.draw(st.integers(1, len(shuffled)))
        batch, shuffled = shuffled[:size], shuffled[size:]
        now = Order({SESSION: checkpoint}, early)
        projected += due(now, batch)
        now.keep_early()
        checkpoint = now.checkpoints[SESSION]
    assert projected == list(range(1, 13))


def test_sessions_do_not_wait_for_each_other() -> None:
    other = uuid4()
    now = Order({SESSION: Checkpoint(), other: Checkpoint()})
    arrivals = [arrival(2), Arrival(other, 1, 0, None)]
    now.add(arrivals)
    assert [one.session_id for one in now.due] == [other]
