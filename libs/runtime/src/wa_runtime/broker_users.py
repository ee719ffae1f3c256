"""RabbitMQ's users as data: each service may use only its own names and declares nothing durable.

Both services may write to the default exchange (`amq.default`). The api requeues dead letters and
marks the end of a rebuild; a host replays, logs QR events without their code, and transfers media.
RabbitMQ cannot restrict the default exchange to some queues.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wa_contracts.topology import (
    BUNDLES,
    COMMANDS,
    DEAD_LETTERS,
    EVENTS,
    EXCHANGES,
    HEARTBEATS,
    POLICIES,
    PROJECTOR,
    QUEUES,
)

_SALT_BYTES = 4


@dataclass(frozen=True)
class BrokerUser:
    """A user and the name patterns that it may declare, write to and read from.

    A binding needs write permission on the queue and read permission on the exchange.
    """

    name: str
    configure: tuple[str, ...]
    write: tuple[str, ...]
    read: tuple[str, ...]


def _literally(name: str) -> str:
    return name.replace(".", r"\.")


_OWN_QUEUES = (r"amq\.gen.*", r"wa\.rebuild\..+")
"""Queues for replies, heartbeats and media transfer; queues of a rebuild."""

API = BrokerUser(
    name="wa_api",
    configure=_OWN_QUEUES,
    write=(_literally(COMMANDS), r"amq\.default", *_OWN_QUEUES),
    read=tuple(map(_literally, (EVENTS, BUNDLES, HEARTBEATS, PROJECTOR, DEAD_LETTERS)))
    + _OWN_QUEUES,
)
SESSION_HOST = BrokerUser(
    name="wa_session_host",
    configure=(),
    write=(*map(_literally, (EVENTS, BUNDLES, HEARTBEATS)), r"amq\.default"),
    read=(rf"{_literally(COMMANDS)}\.(control\.)?p[0-9]+",),
)


def definitions(passwords: Mapping[BrokerUser, str], vhost: str = "/") -> dict[str, Any]:
    """RabbitMQ's definitions of users, permissions, policies and topology.

    A second import updates passwords, permissions and policies. Existing queues keep their
    arguments.
    """
    return {
        "users": [
            {
                "name": user.name,
                "password_hash": _hashed(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
            for user, password in passwords.items()
        ],
        "permissions": [
            {
                "user": user.name,
                "vhost": vhost,
                "configure": _pattern(user.configure),
                "write": _pattern(user.write),
                "read": _pattern(user.read),
            }
            for user in passwords
        ],
        "policies": [
            {
                "name": policy.name,
                "vhost": vhost,
                "pattern": policy.pattern,
                "apply-to": "queues",
                "definition": policy.definition,
                "priority": 0,
            }
            for policy in POLICIES
        ],
        "exchanges": [
            {
                "name": exchange.name,
                "vhost": vhost,
                "type": exchange.type,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for exchange in EXCHANGES
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": queue.arguments,
            }
            for queue in QUEUES
        ],
        "bindings": [
            {
                "source": exchange,
                "vhost": vhost,
                "destination": queue.name,
                "destination_type": "queue",
                "routing_key": key,
                "arguments": {},
            }
            for queue in QUEUES
            for exchange, key in queue.bindings
        ],
    }


def _pattern(names: tuple[str, ...]) -> str:
    return f"^({'|'.join(names)})$" if names else "^$"


def _hashed(password: str) -> str:
    """Base64 of salt and SHA-256(salt + password). Source: RabbitMQ, "Password hashing"."""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return base64.b64encode(salt + digest).decode()
