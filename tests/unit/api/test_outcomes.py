"""What a waiting request hears: everything, in order, until its deadline."""

import asyncio

from wa_api.owners.pending_replies import Interruption, PendingReply


async def test_what_is_heard_comes_out_in_order_and_nothing_after_the_deadline() -> None:
    wait, loop = PendingReply(), asyncio.get_running_loop()
    wait.deliver(Interruption.REREAD)
    wait.deliver(Interruption.DRAIN)
    assert await wait.next(loop.time() + 10) is Interruption.REREAD
    assert await wait.next(loop.time() - 1) is Interruption.DRAIN
    assert await wait.next(loop.time() - 1) is None


async def test_who_waits_is_woken_by_what_is_said_first() -> None:
    wait, loop = PendingReply(), asyncio.get_running_loop()
    loop.call_soon(wait.deliver, Interruption.REREAD)
    loop.call_soon(wait.deliver, Interruption.DRAIN)
    assert await wait.next(loop.time() + 10) is Interruption.REREAD
    assert await wait.next(loop.time() + 10) is Interruption.DRAIN


async def test_a_wait_that_is_given_up_loses_nothing() -> None:
    wait, loop = PendingReply(), asyncio.get_running_loop()
    given_up = asyncio.create_task(wait.next(loop.time() + 10))
    await asyncio.sleep(0)
    given_up.cancel()
    wait.deliver(Interruption.DRAIN)
    await asyncio.wait([given_up])
    assert given_up.cancelled()
    assert await wait.next(loop.time() + 10) is Interruption.DRAIN
