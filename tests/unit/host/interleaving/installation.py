"""An installation in one process: hosts that start, stop and are killed, and what must hold."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.unit.host.host_bench import NothingKept
from tests.unit.host.interleaving.broker import Broker, Link
from tests.unit.host.interleaving.database import (
    Connection,
    Database,
    Lease,
    ScriptedLeases,
    Store,
)
from tests.unit.host.interleaving.whatsapp import ScriptedEngines, WhatsApp
from wa_contracts.codec import encode
from wa_contracts.ids import CommandId, MessageId, SessionId
from wa_contracts.internal.commands import (
    CancelMessage,
    CreateSession,
    MessageType,
    SendMessage,
    SessionCommand,
)
from wa_contracts.internal.routing import routing_key
from wa_contracts.topology import partition_of
from wa_session_host.domain import session as session_domain
from wa_session_host.domain.pacing import PaceRule
from wa_session_host.metrics import HostMetrics
from wa_session_host.partitions.partition import PartitionContext
from wa_session_host.partitions.supervisor import Supervisor
from wa_session_host.publishing.outbox import Outbox
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.tracked_message import BoundedCache
from wa_session_host.store.event_store import ENDS
from wa_session_host.store.group_commit import GroupCommitWriter

LEASE_SECONDS = 10.0
HEALING_SECONDS = 15.0
"""Longer than a lease, and than a send."""
TAKEOVER_SECONDS = 30.0
"""Longer than a lease, and the load after it."""
SETTLE_SECONDS = 100.0
"""Longer than any pause or retry of a session that was just restarted."""
MESSAGE_LIFE = timedelta(hours=2)


@dataclass
class Host:
    """One session-host, its ports, and the task that runs it."""

    supervisor: Supervisor
    connection: Connection
    links: list[Link]
    engines: ScriptedEngines
    stop: asyncio.Event
    running: "asyncio.Task[None]"
    is_leaving: bool = False


@dataclass
class VirtualInstallation:
    """Servers that survive, hosts that do not."""

    database: Database
    broker: Broker
    whatsapp: WhatsApp
    sessions: list[SessionId]
    queue_limit: int
    hosts: list[Host] = field(default_factory=list)
    texts: dict[MessageId, str] = field(default_factory=dict)
    """Every message that was asked for, by its id."""
    sent: list[tuple[SessionId, MessageId]] = field(default_factory=list)
    """The sends so far, repeats included."""
    uncertain: set[SessionId] = field(default_factory=set)
    """Sessions to which something happened after which nobody can know the outcome of a send."""
    _names: int = 0

    def start_host(self, *, engine_seconds: float = 0.02) -> None:
        """One more host; its engines take so long to start."""
        self._names += 1
        name = f"host-{self._names}"
        connection = Connection(self.database, name, LEASE_SECONDS)
        links = [Link(self.broker), Link(self.broker)]
        engines = ScriptedEngines(self.whatsapp)
        engines.start_seconds = engine_seconds
        stop = asyncio.Event()
        supervisor = _supervisor(
            name,
            database=self.database,
            connection=connection,
            links=links,
            engines=engines,
            stop=stop,
            queue_limit=self.queue_limit,
        )
        running = asyncio.get_running_loop().create_task(supervisor.run())
        self.hosts.append(Host(supervisor, connection, links, engines, stop, running))

    def stop_host(self) -> None:
        """SIGTERM to the oldest host that has none yet."""
        for host in self.hosts:
            if not host.is_leaving:
                host.is_leaving = True
                host.stop.set()
                return

    def kill_host(self, host: Host, *, with_engines: bool) -> None:
        """SIGKILL: none of its calls returns. Its engines end with it, or at their deadline."""
        self.uncertain.update(self.sessions)
        self.hosts.remove(host)
        host.connection.is_cut = True
        for link in host.links:
            link.kill()
        if with_engines:
            host.engines.end_all()

    def command(
        self,
        kind: type[SessionCommand],
        session: SessionId,
        *,
        life: timedelta = MESSAGE_LIFE,
        **fields: Any,
    ) -> None:
        """A command as the api publishes it."""
        id_ = CommandId(uuid4())
        now = self.database.now()
        command = kind(
            id=id_,
            session_id=session,
            correlation_id=id_,
            issued_at=now,
            expires_at=now + life,
            reply_to="reply.api",
            **fields,
        )
        self.broker.put(routing_key(command), encode(command))

    def send(self, session: SessionId, message_id: MessageId | None = None) -> None:
        """A new message, or the same again."""
        id_ = message_id or MessageId(uuid4())
        self.sent.append((session, id_))
        text = self.texts.setdefault(id_, f"message {len(self.texts) + 1}")
        self.command(
            SendMessage,
            session,
            message_id=id_,
            to=self.recipient_of(id_),
            message_type=MessageType.TEXT,
            text=text,
            fingerprint=text,
        )

    def recipient_of(self, message_id: MessageId) -> str:
        """One of two chats, in turn."""
        return f"91987654321{int(self.texts[message_id].rpartition(' ')[2]) % 2}"

    def cancel(self, session: SessionId, message_id: MessageId) -> None:
        """Cancel a message."""
        self.command(CancelMessage, session, message_id=message_id)

    def state(self, session: SessionId) -> session_domain.State:
        """A session's state as it is stored."""
        state: session_domain.State = session_domain.NotCreated()
        for row in self.database.events:
            if row.stream == f"session-{session}":
                state = session_domain.evolve(state, row.event)
        return state

    def session_of(self, message_id: MessageId) -> SessionId:
        """The session that it was asked of."""
        return next(one for one, sent in self.sent if sent == message_id)

    def is_forgotten(self, message_id: MessageId) -> bool:
        """Whether it came after its session was deleted: that is told to its sender only."""
        session = self.session_of(message_id)
        stream = f"message-{message_id}"
        is_stored = any(row.stream == stream for row in self.database.events)
        return isinstance(self.state(session), session_domain.Deleted) and not is_stored

    @property
    def is_ready(self) -> bool:
        """Whether every partition is announced by its host."""
        held = [one for host in self.hosts for one in host.supervisor.partitions]
        return len(held) == len(self.database.partitions) and all(one.announced for one in held)

    def outcomes(self) -> dict[MessageId, str | None]:
        """The last end of every message; None of one that has none."""
        found: dict[MessageId, str | None] = dict.fromkeys(self.texts)
        for row in self.database.events:
            if row.type in ENDS:
                found[MessageId(UUID(row.stream.removeprefix("message-")))] = row.type
        return found


@asynccontextmanager
async def installation(
    sessions: int = 3, partitions: int = 2, queue_limit: int = 1000
) -> AsyncIterator[VirtualInstallation]:
    """An installation with one host and working sessions in so few partitions."""
    random.seed(0)
    ids = _session_ids(sessions, partitions)
    numbers = sorted({partition_of(one) for one in ids})
    database = Database({number: Lease() for number in numbers})
    made = VirtualInstallation(database, Broker(), WhatsApp(), ids, queue_limit)
    with capture_logs() as logs:
        made.start_host()
        for session in ids:
            made.command(CreateSession, session)
        await asyncio.sleep(5)
        yield made
    crashed = [one for one in logs if one.get("log_level") == "error" and not _is_expected(one)]
    assert not crashed, crashed


def _is_expected(line: Mapping[str, Any]) -> bool:
    """An arrival that no table takes is told, and skipped alone."""
    return bool(line["event"] == "observation_not_recorded" and line["kind"] == "MessageSeen")


def _session_ids(sessions: int, partitions: int) -> list[SessionId]:
    found: dict[int, list[SessionId]] = {}
    number = 0
    while len(found) < partitions or sum(map(len, found.values())) < sessions:
        number += 1
        one = SessionId(UUID(int=number))
        home = partition_of(one)
        if home in found or len(found) < partitions:
            found.setdefault(home, []).append(one)
    return [one for ids in found.values() for one in ids]


async def _nothing_removed(*_: object) -> int:
    return 0


class _NoMedia:
    """Texts need none."""

    @asynccontextmanager
    async def ready(self, *_: object) -> AsyncIterator[None]:
        """Nothing to fetch."""
        yield None


def _supervisor(
    name: str,
    *,
    database: Database,
    connection: Connection,
    links: list[Link],
    engines: ScriptedEngines,
    stop: asyncio.Event,
    queue_limit: int,
) -> Supervisor:
    store = Store(connection, name)
    session = SessionContext(
        writer=GroupCommitWriter(cast("Any", connection), name, database.now),
        store=cast("Any", store),
        engines=engines,
        media=cast("Any", _NoMedia()),
        incoming_media=cast("Any", None),
        clock=database.now,
        metrics=HostMetrics(CollectorRegistry()),
        sent_messages=BoundedCache(100),
        contents=BoundedCache(100),
        pace=PaceRule(),
        login_seconds=30,
        retention=timedelta(days=30),
    )
    context = PartitionContext(
        session=session,
        outbox=Outbox(cast("Any", links[0])),
        retention=cast("Any", SimpleNamespace(remove=_nothing_removed)),
        media_transfer=cast("Any", None),
        media_keeping=cast("Any", NothingKept()),
        queue_limit=queue_limit,
        queue_max_bytes=1_000_000,
    )
    return Supervisor(
        name,
        leases=cast("Any", ScriptedLeases(connection, name, LEASE_SECONDS)),
        context=context,
        commands=cast("Any", links[1]),
        lease_seconds=LEASE_SECONDS,
        stop=stop,
    )
