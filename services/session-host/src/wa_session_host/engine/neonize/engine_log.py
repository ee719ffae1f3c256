"""What only the engine's log tells: the stanza in which WhatsApp refuses, and why a pairing failed.

The engine calls for each line before it goes on, so a line is here before the event that it belongs
to. Lines are read at any level. Source: whatsmeow, connectionevents.go and pair.go.
"""

import ctypes
import re
from collections.abc import Mapping

from neonize.aioze import client as neonize_client
from neonize.proto.Neonize_pb2 import LogEntry

LONGEST_WORDS = 500
_FAILURE = b"<failure "
_PAIRING = b"Failed to pair device: "
_ATTRIBUTE = re.compile(r'([a-z_]+)="([^"]*)"')


class EngineLog:
    """Reads the lines of one engine. `failure` has the attributes of the last refusal."""

    def __init__(self) -> None:
        self.failure: Mapping[str, str] = {}
        self.pairing_error = ""
        self._pass_on = neonize_client.log_whatsmeow
        neonize_client.log_whatsmeow = self._on_line

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

    def _on_line(self, binary: int, size: int) -> None:
        """On a thread of the engine."""
        if binary and size > 0:
            data = ctypes.string_at(binary, size)
            if _FAILURE in data or _PAIRING in data:
                self.read(LogEntry.FromString(data).Message)
        self._pass_on(binary, size)

    def read(self, line: str) -> None:
        """Take what this line tells."""
        if _FAILURE.decode() in line:
            stanza = line[line.index(_FAILURE.decode()) :]
            self.failure = dict(_ATTRIBUTE.findall(stanza.partition(">")[0]))
        elif line.startswith(_PAIRING.decode()):
            self.pairing_error = line.removeprefix(_PAIRING.decode())
