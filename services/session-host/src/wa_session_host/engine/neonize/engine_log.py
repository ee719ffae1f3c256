"""What only the engine's log tells: WhatsApp's refusals, why a pairing failed, who got no message.

The engine calls for each line before it goes on, so a line is here before the event that it belongs
to. Source: whatsmeow, connectionevents.go, pair.go, send.go and retry.go.
"""

import re
from collections.abc import Callable, Mapping

from wa_session_host.engine.neonize.outgoing.left_out import LeftOut

LONGEST_WORDS = 500
_FAILURE = "<failure "
_PAIRING = "Failed to pair device: "
_UNREADABLE = re.compile(
    r"Failed to handle retry receipt for (\S+)/(\S+) from \S+: couldn't find message"
)
_ATTRIBUTE = re.compile(r'([a-z_]+)="([^"]*)"')


class EngineLog:
    """Reads the lines of one engine. `failure` has the attributes of the last refusal."""

    def __init__(self) -> None:
        self.failure: Mapping[str, str] = {}
        self.pairing_error = ""
        self.left_out = LeftOut()
        self.on_unreadable: Callable[[str, str], None] = _nobody_asks
        """Called with chat and id of a message that its recipient cannot read, nor get anew."""

    @property
    def code(self) -> str:
        """The number of the last refusal; empty without one."""
        return self.failure.get("reason", "")

    @property
    def words(self) -> str:
        """What WhatsApp said in its last refusal, for people; mostly empty."""
        names = ("logout_message_header", "logout_message_subtext", "message")
        said = " ".join(self.failure[name] for name in names if self.failure.get(name))
        return said[:LONGEST_WORDS]

    def read(self, line: str) -> None:
        """Take what this line tells, on a thread of the engine."""
        self.left_out.read(line)
        if _FAILURE in line:
            stanza = line[line.index(_FAILURE) :]
            self.failure = dict(_ATTRIBUTE.findall(stanza.partition(">")[0]))
        elif found := _UNREADABLE.search(line):
            self.on_unreadable(found[1], found[2])
        elif line.startswith(_PAIRING):
            self.pairing_error = line.removeprefix(_PAIRING)


def _nobody_asks(_chat: str, _message_id: str) -> None:
    """Before an engine is there."""
