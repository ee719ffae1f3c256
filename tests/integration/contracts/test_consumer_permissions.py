"""The documented permissions of an event consumer: enough, and no more."""

import re
import shlex
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from deploy.servers.factory import RabbitMQServer
from tests.integration.contracts.consuming import (
    Publisher,
    Reader,
    binary,
    bound,
    first_event_of,
    sent,
)
from wa_contracts.consumer import SubscriptionRefused, subscribe
from wa_contracts.ids import SessionId
from wa_contracts.topology import EVENTS


async def test_the_documented_permissions_are_enough_and_no_more(
    publisher: Publisher, rabbitmq: RabbitMQServer
) -> None:
    """Those of docs/events.md, for a program whose queues begin with `my-app`."""
    documentation = (Path(__file__).parents[3] / "docs/events.md").read_text()
    [command] = re.findall(r"set_permissions [^`\n]*", documentation)
    configure, write, read = shlex.split(command)[-3:]
    [command] = re.findall(r"set_topic_permissions [^`\n]*", documentation)
    exchange_name, topic_write, topic_read = shlex.split(command)[-3:]
    address = urlsplit(publisher.url)
    vhost = unquote(address.path.removeprefix("/"))
    module = "rabbit_auth_backend_internal"
    await rabbitmq.evaluate(f'{module}:add_user(<<"my-app">>, <<"secret">>, <<"test">>).')
    try:
        await rabbitmq.evaluate(
            f"{module}:set_permissions({binary('my-app')}, {binary(vhost)}, {binary(configure)},"
            f" {binary(write)}, {binary(read)}, {binary('test')}),"
            f"{module}:set_topic_permissions({binary('my-app')}, {binary(vhost)},"
            f" {binary(exchange_name)}, {binary(topic_write)}, {binary(topic_read)},"
            f" {binary('test')})."
        )
        url = address._replace(netloc=f"my-app:secret@{address.hostname}:{address.port}").geturl()
        session, since = SessionId(uuid4()), datetime.now(UTC)
        await publisher.publish(sent(1, session))
        reader = Reader(
            subscribe(url, "message.sent", session=str(session), queue="my-app", since=since)
        )
        await bound(publisher, "my-app")
        await publisher.publish(sent(2, session))
        assert await reader.until(2) == [1, 2]
        await reader.stop()
        without_queue = Reader(
            subscribe(url, "message.sent", session=str(session), since=datetime.now(UTC))
        )
        await publisher.publish(sent(3, session))
        assert await without_queue.until(1) == [3]
        await without_queue.stop()
        with pytest.raises(SubscriptionRefused, match="permission"):
            await first_event_of(subscribe(url, "message.sent", queue="not-my-app"))
        await assert_confined(url, await exchanges_of(rabbitmq, vhost))
    finally:
        await rabbitmq.evaluate(f'{module}:delete_user(<<"my-app">>, <<"test">>).')


async def exchanges_of(rabbitmq: RabbitMQServer, vhost: str) -> list[str]:
    """The names of all exchanges of the virtual host, the default one and RabbitMQ's among them."""
    found = await rabbitmq.evaluate(
        'lists:flatten([io_lib:format("(~s)", [element(4, N)])'
        f" || N <- rabbit_exchange:list_names(), element(2, N) =:= {binary(vhost)}])."
    )
    names = re.findall(r"\(([^()]*)\)", found)
    assert {"", "amq.direct", "amq.topic", EVENTS, "wa.commands", "wa.bundles"} <= set(names), found
    return names


async def assert_confined(url: str, exchanges: list[str]) -> None:
    """The user may read, bind and publish within its prefix alone."""
    async with await aio_pika.connect(url) as connection:

        async def refused(what: str, attempt: Callable[[AbstractChannel], Awaitable[Any]]) -> None:
            channel = await connection.channel()
            try:
                await attempt(channel)
            except ChannelAccessRefused:
                return
            pytest.fail(f"{what} is allowed")

        for name in exchanges:
            if name.startswith("my-app"):
                continue

            async def publish(channel: AbstractChannel, name: str = name) -> None:
                exchange = channel.default_exchange
                if name:
                    exchange = await channel.get_exchange(name, ensure=False)
                await exchange.publish(aio_pika.Message(b"{}"), "wa.commands.p0", mandatory=False)

            async def dead_letter(channel: AbstractChannel, name: str = name) -> None:
                await channel.declare_queue(
                    "my-app.escape", arguments={"x-dead-letter-exchange": name}
                )

            async def alternate(channel: AbstractChannel, name: str = name) -> None:
                await channel.declare_exchange(
                    "my-app.escape", arguments={"alternate-exchange": name}
                )

            await refused(f"publishing to {name!r}", publish)
            await refused(f"dead-lettering to {name!r}", dead_letter)
            if name:
                await refused(f"passing on to {name!r}", alternate)
        for name in ("wa.commands.p0", "wa.projector"):
            await refused(
                f"consuming {name}",
                partial(consume, name=name),
            )
        for key in ("#", "reply.*"):
            await refused(f"binding {key}", partial(bind, key=key))


async def consume(channel: AbstractChannel, name: str) -> None:
    """Consume a queue that exists."""
    await (await channel.get_queue(name, ensure=False)).consume(reader_of_others)


async def bind(channel: AbstractChannel, key: str) -> None:
    """Bind the program's own queue to the events."""
    await (await channel.get_queue("my-app", ensure=False)).bind(EVENTS, key)


async def reader_of_others(_: aio_pika.abc.AbstractIncomingMessage) -> None:
    """Would get what belongs to the gateway."""
