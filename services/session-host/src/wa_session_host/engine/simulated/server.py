"""A server outside the host for simulated engines: it outlives the host, as WhatsApp does.

One request per line, JSON: `{"session", "to", "text"}`. The server stores the message and answers
`{"messageId"}`. A lost connection leaves an unknown outcome.
"""

import asyncio

from pydantic_core import from_json, to_json

from wa_contracts.ids import SessionId
from wa_session_host.engine.port import NotSent, OutcomeUnknown, OutgoingMessage

CONNECT_SECONDS = 2.0
ACK_SECONDS = 10.0


class SimulatedServer:
    """Client of the server, with one connection per message."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host = host
        self._port = int(port)

    async def accept(self, session_id: SessionId, message: OutgoingMessage) -> str:
        """Hand a message over; return the server's id of it.

        Raises:
            NotSent: the server is unreachable.
            OutcomeUnknown: the connection ended, or no ack came, after the message went out.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, TimeoutError) as error:
            raise NotSent("The simulated server is not reachable.") from error
        try:
            request = {"session": str(session_id), "to": message.to, "text": message.text}
            writer.write(to_json(request) + b"\n")
            async with asyncio.timeout(ACK_SECONDS):
                answer = await reader.readline()
        except (OSError, TimeoutError) as error:
            raise OutcomeUnknown("The simulated server did not acknowledge.") from error
        finally:
            writer.close()
        if not answer:
            raise OutcomeUnknown("The simulated server closed the connection.")
        message_id: str = from_json(answer)["messageId"]
        return message_id
