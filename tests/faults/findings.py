"""What was seen from every side when all was quiet again, and which promises that breaks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.faults.clients import Sent
from tests.faults.recorder import Recorded
from tests.faults.strikes import CUTS_OFF_THE_BROKER, Strike
from wa_contracts.envelope import Envelope

ENDED = {"sent", "delivered", "read", "failed", "unknown", "cancelled"}


@dataclass
class Findings:
    """What was seen from every side when all was quiet again."""

    strikes: list[Strike]
    sent: list[Sent]
    recorded: list[Recorded]
    consumed: list[Envelope]
    stored: Sequence[Mapping[str, Any]]
    projected: Mapping[str, Mapping[str, Any]]
    warnings: Sequence[str] = ()
    """What the hosts' logs say that is worth a look if a promise was broken."""

    def problems(self) -> list[str]:
        """Every promise that was broken, one sentence each; empty if none was."""
        return [
            *self._every_accepted_message_ended_once(),
            *self._nothing_reached_the_recorder_twice(),
            *self._no_200_without_an_ack(),
            *self._events_are_gapless_in_store_and_consumer(),
            *self._projections_equal_the_store(),
            *self._unknown_only_under_a_strike(),
        ]

    def _ends(self) -> dict[str, list[str]]:
        ends: dict[str, list[str]] = {}
        for row in self.stored:
            name = row["type"].removeprefix("message.")
            if row["type"].startswith("message.") and name in ENDED - {"delivered", "read"}:
                ended = ends.setdefault(row["stream"].removeprefix("message-"), [])
                if name == "sent" and ended == ["unknown"]:
                    ended.clear()  # proven by a receipt: that is its end then
                ended.append(name)
        return ends

    def _every_accepted_message_ended_once(self) -> list[str]:
        """One that was answered 500 with an id may not exist, if the broker was struck meanwhile:
        the command was written and its confirm never came.
        """
        ends = self._ends()
        wrong = []
        for one in self.sent:
            ended = ends.get(one.id or "", [])
            is_lost_confirm = (
                not ended and not one.accepted and one.id is not None and self._was_cut_off(one)
            )
            if len(ended) != 1 and not is_lost_confirm:
                wrong.append(f"{one.key} ({one.statuses}) ended as {ended}")
        return wrong

    def _was_cut_off(self, one: Sent) -> bool:
        return any(
            strike.name in CUTS_OFF_THE_BROKER and strike.overlaps(one.began, one.ended)
            for strike in self.strikes
        )

    def _nothing_reached_the_recorder_twice(self) -> list[str]:
        times = Counter((one.session, one.text) for one in self.recorded)
        return [f"{text} reached WhatsApp {n} times" for (_, text), n in times.items() if n > 1]

    def _no_200_without_an_ack(self) -> list[str]:
        known = {one.message_id: one for one in self.recorded}
        wrong = []
        for one in self.sent:
            if one.acknowledged_as is not None:
                ack = known.get(one.acknowledged_as)
                if ack is None or (ack.session, ack.text) != (one.session, one.key):
                    wrong.append(f"{one.key} was answered 200 without an ack")
        return wrong

    def _events_are_gapless_in_store_and_consumer(self) -> list[str]:
        wrong = []
        by_session: dict[Any, list[int]] = {}
        for row in self.stored:
            if row["session_sequence"] is not None:
                by_session.setdefault(row["session_id"], []).append(row["session_sequence"])
        consumed: dict[Any, list[int]] = {}
        for event in self.consumed:
            consumed.setdefault(event.session_id, []).append(event.session_sequence)
        for session_id, sequences in by_session.items():
            gapless = list(range(1, len(sequences) + 1))
            if sequences != gapless:
                wrong.append(f"the store of {session_id} has gaps or another order")
            if sorted(set(consumed.get(session_id, []))) != gapless:
                missing = set(gapless) - set(consumed.get(session_id, []))
                wrong.append(f"the consumer missed {sorted(missing)[:5]} of {session_id}")
            if consumed.get(session_id, []) != gapless:
                wrong.append(f"the consumer saw {session_id} in another order")
        return wrong

    def _projections_equal_the_store(self) -> list[str]:
        wrong = []
        for message_id, names in self._ends().items():
            row = self.projected.get(message_id)
            shown = row["status"] if row is not None else None
            if shown != names[-1]:
                wrong.append(f"{message_id} is {names[-1]} in the store, {shown} on the page")
        return wrong

    def _unknown_only_under_a_strike(self) -> list[str]:
        """A send is under a strike on its session that fell between its start and its end."""
        started: dict[str, float] = {}
        wrong = []
        for row in self.stored:
            at = row["occurred_at"].timestamp()
            if row["type"] == "message.send_started":
                started[row["stream"]] = at
            elif row["type"] == "message.unknown":
                began = started.get(row["stream"], at)
                session = str(row["session_id"])
                if not any(strike.explains(session, began, at) for strike in self.strikes):
                    wrong.append(
                        f"{row['stream']} is unknown, though nothing struck it: "
                        f"session {session}, from {_time(began)} to {_time(at)}"
                    )
        return wrong

    def table(self) -> str:
        """The findings for people."""
        ends = Counter(names[-1] for names in self._ends().values())
        strikes = Counter(strike.name for strike in self.strikes)
        rows = [
            ("messages wanted", len(self.sent)),
            ("accepted", sum(one.accepted for one in self.sent)),
            ("ended", sum(len(ends) for ends in self._ends().values())),
            *((f"ended: {name}", number) for name, number in sorted(ends.items())),
            ("reached WhatsApp", len(self.recorded)),
            ("answers", dict(Counter(s for one in self.sent for s in one.statuses))),
            ("events stored", sum(r["session_sequence"] is not None for r in self.stored)),
            ("events consumed, each once", len(self.consumed)),
            ("strikes", dict(strikes)),
            ("promises broken", len(problems := self.problems())),
        ]
        lines = [f"{name:<28} {value}" for name, value in rows]
        if problems:
            lines += [
                *(f"{_time(one.began)} to {_time(one.ended)} {one.name}" for one in self.strikes),
                *self.warnings,
            ]
        return "\n".join(lines)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S.%f")[:-3]
