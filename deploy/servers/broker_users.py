"""A broker user per service, on the local stack's own RabbitMQ."""

import base64
import hashlib
import hmac
import json
import subprocess
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from deploy.servers.factory import RabbitMQServer
from deploy.servers.rabbitmq import RabbitMQRefused
from wa_runtime.broker_users import API, SESSION_HOST, BrokerUser, definitions
from wa_runtime.retries import until_available

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class BrokerUrls:
    """AMQP URLs: one per service, and the administrator's, which local event consumers may use."""

    administrator: str
    api: str
    session_host: str


def same_for_all(url: str) -> BrokerUrls:
    """The same URL for all: the operator of an external broker manages its users."""
    return BrokerUrls(url, url, url)


async def provide(server: RabbitMQServer, url: str | None = None) -> BrokerUrls:
    """Create or update users and topology in the vhost of `url`, by default the server's own.

    Waits while the node recovers: after a kill of everything its queues have no leader at first.

    Raises:
        RabbitMQRefused: The node refuses them for `PATIENCE_SECONDS`.
    """
    url = url or server.url
    vhost = unquote(urlsplit(url).path.removeprefix("/"))
    passwords = {user: _password(url, user) for user in (API, SESSION_HOST)}
    wanted = base64.b64encode(json.dumps(definitions(passwords, vhost)).encode()).decode()
    expression = f'ok = rabbit_definitions:import_raw(base64:decode(<<"{wanted}">>)).'
    try:
        await until_available(
            "set_up_broker",
            lambda: server.evaluate(expression),
            on=(RabbitMQRefused, subprocess.TimeoutExpired),
            event="waiting_for_broker",
            within=PATIENCE_SECONDS,
        )
    except TimeoutError as error:
        raise RabbitMQRefused(f"RabbitMQ does not accept users and queues: {error}") from error
    return BrokerUrls(url, _as(url, API), _as(url, SESSION_HOST))


def _as(url: str, user: BrokerUser) -> str:
    parts = urlsplit(url)
    login = f"{user.name}:{quote(_password(url, user), safe='')}"
    return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()


def _password(url: str, user: BrokerUser) -> str:
    """Derive a user's password from the administrator's, so that no other secret is stored."""
    secret = unquote(urlsplit(url).password or "")
    return hmac.new(secret.encode(), user.name.encode(), hashlib.sha256).hexdigest()[:32]
