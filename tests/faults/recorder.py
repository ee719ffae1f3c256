"""WhatsApp's side of the soak: a process that writes each message down before it acknowledges it.

Run as `python -m tests.faults.recorder <file>`; it prints its port. It survives every strike.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

HEADER = "3EB0"


@dataclass(frozen=True)
class Recorded:
    """One message that reached the recorder."""

    message_id: str
    session: str
    text: str


def read(path: Path) -> list[Recorded]:
    """Everything recorded so far, in order."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Recorded(**json.loads(line)) for line in lines]


async def serve(path: Path) -> None:
    """Record until killed."""
    numbers = count(1)
    with path.open("a") as file:

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = await reader.readline()
            if line.endswith(b"\n"):
                request = json.loads(line)
                message_id = f"{HEADER}{next(numbers):018X}"
                recorded = Recorded(message_id, request["session"], request["text"])
                file.write(json.dumps(recorded.__dict__) + "\n")
                file.flush()
                os.fsync(file.fileno())
                writer.write(json.dumps({"messageId": message_id}).encode() + b"\n")
            writer.close()

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
