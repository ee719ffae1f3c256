"""What only the engine's log tells: WhatsApp's refusals, why a pairing failed, who got no message.

The engine calls for each line before it goes on, so a line is here before the event that it belongs
to. Source: whatsmeow, connectionevents.go, pair.go and send.go.
"""

import re
from collections.abc import Mapping

from wa_session_host.engine.neonize.outgoing.left_out import LeftOut

LONGEST_WORDS = 500
_FAILURE = "<failure "
_PAIRING = "Failed to pair device: "
_ATTRIBUTE = re.compile(r'([a-z_]+)="([^"]*)"')


class EngineLog:
    """Reads the lines of one engine. `failure` has the attributes of the last refusal."""

    def __init__(self) -> None:
        self.failure: Mapping[str, str] = {}
        self.pairing_error = ""
        self.left_out = LeftOut()

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
        elif line.startswith(_PAIRING):
            self.pairing_error = line.removeprefix(_PAIRING)
