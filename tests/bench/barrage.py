"""How much refused messages delay the others of their session.

`python -m tests.bench.barrage [messages]`: one session of the real engine, 50 chats, a third of the
messages refused in every way there is; beside it the same without those. What is measured is the
time until every message has ended, or waits with its chat. One number query in it has no answer,
for which the session waits 2 s.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.integration.host.barrage import fire
from tests.integration.host.linked_session import linked_session
from tests.unit.host.runner_bench import bench


async def _seconds(messages: int, *, refused: bool) -> float:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        linked = linked_session(directory, "919876543212")
        async with linked as session, bench(session.engine) as made:
            fired = await fire(session, made, directory / "a.pdf", messages, refused=refused)
            return fired.seconds


async def _main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    alone = await _seconds(messages, refused=False)
    among = await _seconds(messages, refused=True)
    print(f"{messages} messages: {alone:.1f} s without the refused third, {among:.1f} s with it")


if __name__ == "__main__":
    asyncio.run(_main())
