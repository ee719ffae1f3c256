"""The bare ring: what FastAPI and aio-pika cost with no product in them.

`python -m tests.bench.bare_ring front --port N` and `… back`, both with AMQP_URL: a POST is published
with a confirm, the other process publishes with a confirm for each one that it gets, the first one
answers. No checks, no database, no order. `/accept` answers after its own confirm alone. The queues
are quorum queues, as the product's are: what is confirmed is on the disk in both.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import aio_pika
import uvicorn
import uvloop
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from fastapi import FastAPI, Request, Response
from pamqp.common import FieldTable

COMMANDS, EVENTS, ACCEPTED = "bare.commands", "bare.events", "bare.accepted"
PREFETCH = 200
KEPT = 10_000
"""Nobody takes what was accepted; the oldest go."""


@asynccontextmanager
async def channel() -> AsyncIterator[AbstractChannel]:
    """One with the queues declared."""
    connection = await aio_pika.connect(os.environ["AMQP_URL"])
    async with connection:
        opened = await connection.channel()
        await opened.set_qos(prefetch_count=PREFETCH)
        for name in (COMMANDS, EVENTS):
            await opened.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        limited: FieldTable = {"x-queue-type": "quorum", "x-max-length": KEPT}
        await opened.declare_queue(ACCEPTED, durable=True, arguments=limited)
        yield opened


async def publish(to: AbstractChannel, queue: str, body: bytes, number: str) -> None:
    """Persistent, and confirmed when this returns."""
    message = aio_pika.Message(
        body, correlation_id=number, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )
    await to.default_exchange.publish(message, routing_key=queue)


def front() -> FastAPI:
    """The process that answers."""
    waiting: dict[str, asyncio.Future[bytes]] = {}

    async def take(message: AbstractIncomingMessage) -> None:
        future = waiting.pop(message.correlation_id or "", None)
        if future is not None:
            future.set_result(message.body)
        await message.ack()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with channel() as app.state.channel:
            await (await app.state.channel.get_queue(EVENTS)).consume(take)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/send")
    async def send(request: Request) -> Response:
        number = uuid4().hex
        future = waiting[number] = asyncio.get_running_loop().create_future()
        await publish(app.state.channel, COMMANDS, await request.body(), number)
        return Response(await future, media_type="application/json")

    @app.post("/accept")
    async def accept(request: Request) -> Response:
        await publish(app.state.channel, ACCEPTED, await request.body(), uuid4().hex)
        return Response(b'{"accepted": true}', 202, media_type="application/json")

    return app


async def back() -> None:
    """The other process."""
    async with channel() as opened:

        async def take(message: AbstractIncomingMessage) -> None:
            await publish(opened, EVENTS, message.body, message.correlation_id or "")
            await message.ack()

        await (await opened.get_queue(COMMANDS)).consume(take)
        await asyncio.Event().wait()


def main() -> None:
    """Be one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("front", "back"))
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    if asked.part == "back":
        uvloop.run(back())
    else:
        uvicorn.run(
            front(),
            host="127.0.0.1",
            port=asked.port,
            loop="uvloop",
            http="httptools",
            access_log=False,
            log_level="warning",
        )


if __name__ == "__main__":
    main()
