"""What becomes of a picture when nobody decodes it."""

import socket
from pathlib import Path

import pytest

from wa_session_host.engine.port import NotSent, SendRefused
from wa_session_host.engine.process.previews import Previews


async def test_without_a_decoder_the_message_waits(tmp_path: Path) -> None:
    async def cannot(_: socket.socket) -> None:
        return None

    with pytest.raises(NotSent):
        await Previews(cannot).render(tmp_path / "a.png")


async def test_a_decoder_that_ends_without_an_answer_is_a_refusal(tmp_path: Path) -> None:
    async def ends_at_once(_: socket.socket) -> int:
        return 1

    with pytest.raises(SendRefused, match="more memory or time"):
        await Previews(ends_at_once).render(tmp_path / "a.png")
