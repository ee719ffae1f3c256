"""Lost connections and cancellations are told apart, whatever the library raises."""

import asyncio

import pytest
from aiormq.exceptions import ChannelInvalidStateError

from wa_runtime.connection_loss import BrokerConnectionLost, translate_connection_errors


async def wait_on_a_channel(raises: type[BaseException]) -> None:
    """Wait; a channel that closes meanwhile raises its own error in the place of a cancellation."""
    async with translate_connection_errors():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise raises from None


@pytest.mark.parametrize("raises", [ChannelInvalidStateError, asyncio.CancelledError])
async def test_a_cancellation_while_the_channel_closes_is_a_cancellation(
    raises: type[BaseException],
) -> None:
    """Else the task goes on, and who cancelled it waits for ever."""
    waiting = asyncio.create_task(wait_on_a_channel(raises))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


@pytest.mark.parametrize("raises", [ChannelInvalidStateError, asyncio.CancelledError])
async def test_a_time_out_while_the_channel_closes_is_a_time_out(
    raises: type[BaseException],
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait_on_a_channel(raises)


@pytest.mark.parametrize("raised", [ChannelInvalidStateError, asyncio.CancelledError])
async def test_without_a_cancellation_the_connection_is_lost(raised: type[BaseException]) -> None:
    with pytest.raises(BrokerConnectionLost):
        async with translate_connection_errors():
            raise raised
