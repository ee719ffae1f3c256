"""Publishing on a connection that ends meanwhile: whoever publishes hears of it."""

import asyncio

import aio_pika
import pytest

from tests.proxy import proxy_to
from wa_contracts.runtime.broker import BrokerLink, ConnectionLost
from wa_contracts.runtime.publishing import DEFAULT_EXCHANGE, publish

AT_ONCE = 200


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("turns", range(4))
async def test_nobody_waits_for_ever_when_the_connection_ends(
    broker: str, turns: int, *, is_cut: bool
) -> None:
    """Whatever has come of the messages by then: not begun, waiting to be written, written."""
    async with proxy_to(broker) as (proxy, url):
        link = BrokerLink(url, "test")
        running = asyncio.create_task(link.run())
        try:
            channel = await link.usable()
            proxy.mute = True
            publishing = [
                asyncio.create_task(
                    publish(
                        channel, aio_pika.Message(b"x"), exchange=DEFAULT_EXCHANGE, key="nowhere"
                    )
                )
                for _ in range(AT_ONCE)
            ]
            for _ in range(turns):
                await asyncio.sleep(0)
            if is_cut:
                proxy.cut()
            else:
                link.renew(channel)
            async with asyncio.timeout(10):
                ended = await asyncio.gather(*publishing, return_exceptions=True)
            assert {type(one) for one in ended} == {ConnectionLost}
        finally:
            running.cancel()
            await asyncio.wait([running])
