"""Queues of an earlier version are found as they are."""

from inline_snapshot import snapshot

from wa_contracts.topology import (
    DEAD_LETTERS,
    EVENT_LOG,
    POLICIES,
    PROJECTOR,
    QUEUES,
    command_queue,
    control_queue,
)


def test_the_arguments_of_a_queue_never_change() -> None:
    """The broker refuses a declaration with others. A limit that changes belongs to a policy."""
    work = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20,
        "x-dead-letter-exchange": "wa.dead-letters",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-single-active-consumer": True,
    }
    assert {queue.name: queue.arguments for queue in QUEUES} == {
        **{command_queue(number): work for number in range(64)},
        **{control_queue(number): work for number in range(64)},
        PROJECTOR: work,
        EVENT_LOG: {
            "x-queue-type": "stream",
            "x-max-age": "7D",
            "x-max-length-bytes": 2_000_000_000,
        },
        DEAD_LETTERS: {"x-queue-type": "quorum"},
    }


def test_the_limits_that_may_change() -> None:
    assert [(one.pattern, one.definition) for one in POLICIES] == snapshot(
        [(r"^wa\.events\.log$", {"max-age": "7D", "max-length-bytes": 2000000000})]
    )
