"""What is written to a client in one turn of the loop is one piece; nothing is held back for long."""

import asyncio
from unittest.mock import Mock, call

import pytest

from wa_api.serving.gathering_transport import AT_ONCE, GatheringTransport


@pytest.fixture
def transport() -> Mock:
    return Mock(spec=asyncio.Transport)


async def test_head_and_body_are_one_piece(transport: Mock) -> None:
    gathering = GatheringTransport(transport)
    gathering.write(b"head")
    gathering.write(b"body")
    assert not transport.write.called
    await asyncio.sleep(0)
    gathering.write(b"next")
    await asyncio.sleep(0)
    assert transport.write.mock_calls == [call(b"headbody"), call(b"next")]


async def test_much_goes_out_at_once(transport: Mock) -> None:
    gathering = GatheringTransport(transport)
    gathering.write(b"head")
    gathering.write(b"x" * AT_ONCE)
    assert transport.write.mock_calls == [call(b"head" + b"x" * AT_ONCE)]
    await asyncio.sleep(0)
    assert transport.write.call_count == 1


async def test_closing_writes_first_and_the_rest_is_the_transports(transport: Mock) -> None:
    gathering = GatheringTransport(transport)
    gathering.write(b"last")
    gathering.close()
    assert transport.mock_calls == [call.write(b"last"), call.close()]
    transport.is_closing.return_value = True
    assert gathering.is_closing()
