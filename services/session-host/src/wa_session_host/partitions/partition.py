"""One held partition: its sessions, loaded from the store, and their relay."""

import asyncio
import random
from collections.abc import Iterable
from contextvars import Context
from dataclasses import dataclass
from enum import Enum
from functools import partial

import structlog

from wa_contracts.ids import SessionId, session_stream
from wa_contracts.internal.heartbeat import SessionPace
from wa_contracts.message_events import MessageQueued
from wa_runtime.postgres import DATABASE_ERRORS
from wa_runtime.traces import resumed_trace
from wa_session_host.domain import message as message_domain
from wa_session_host.domain import session as session_domain
from wa_session_host.domain.pacing import SendHistory
from wa_session_host.partitions.media_keeping import MediaKeeping
from wa_session_host.partitions.schedule import Schedule
from wa_session_host.publishing.media_transfer import MediaTransfer
from wa_session_host.publishing.outbox import Outbox
from wa_session_host.publishing.relay import Relay
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.open_message import MessageAppender, OpenMessage
from wa_session_host.sessions.owner import SessionOwner
from wa_session_host.store.event_store import ENDS, RelayCheckpoint
from wa_session_host.store.leases import Claim
from wa_session_host.store.retention import StreamRetention
from wa_session_host.store.stored_event import StoredEvent, message_state

log = structlog.get_logger()


class PartitionPhase(Enum):
    """Phases of a held partition, in order. A phase may be skipped, none comes back."""

    LOADING = 1
    """State is being read. Nothing is known of open messages: no checkpoint may be saved."""
    TAKING_OVER = 2
    """Loaded. Interrupted sends are ended and the sessions' states published."""
    RUNNING = 3
    """Commands are consumed, heartbeats announce the sessions."""
    LEAVING = 4
    """Sends have ended. Engines stop, the relay publishes the rest."""


OUTCOMES = {MessageQueued.TYPE, *ENDS}
EXPIRE_EVERY_SECONDS = 1.0
REMOVE_EVERY_SECONDS = 3600.0
FIRST_REMOVAL_WITHIN_SECONDS = 600.0


@dataclass(frozen=True)
class PartitionContext:
    """Ports and settings of every partition of a host."""

    session: SessionContext
    outbox: Outbox
    retention: StreamRetention
    media_transfer: MediaTransfer
    media_keeping: MediaKeeping
    queue_limit: int
    """Limit of open messages per session; further ones are refused."""
    queue_max_bytes: int
    """Limit of their content."""


class Partition:
    """All sessions of a partition while this host holds it."""

    def __init__(self, claim: Claim, context: PartitionContext) -> None:
        """`claim` holds the former owner's checkpoint."""
        self.number = claim.partition
        self.token = claim.token
        self.context = context
        self._session = context.session
        self.sessions: dict[SessionId, SessionOwner] = {}
        self.relay = Relay(
            context.outbox,
            claim.relayed_position,
            partial(context.session.store.events_after, claim.partition),
        )
        self.schedule = Schedule(claim.partition, context.session, self.owner)
        self.phase = PartitionPhase.LOADING
        self._send_histories: dict[SessionId, SendHistory] = {}
        self._interrupted_sends: list[tuple[SessionId, OpenMessage]] = []
        """Not ended yet."""
        self._tasks: asyncio.TaskGroup | None = None

    def _enter(self, phase: PartitionPhase) -> None:
        """Move to a later phase."""
        assert self.phase.value < phase.value, (self.phase, phase)
        self.phase = phase

    @property
    def announced(self) -> bool:
        """Whether heartbeats announce its sessions."""
        return self.phase is PartitionPhase.RUNNING

    async def load(self) -> None:
        """Load the partition's sessions and open messages, and open the partition for appends."""
        session = self._session
        session.writer.open_partition(self.number, self.token, self._stored)
        await self._load_sessions()
        unrelayed, last = await session.store.extent_after(self.number, self.relay.relayed_position)
        self.relay.continue_from_store(last, unrelayed)
        async for events, content_bytes in session.store.open_messages(self.number):
            self._restore(events, content_bytes)
        await self.schedule.load()
        self._enter(PartitionPhase.TAKING_OVER)

    async def _load_sessions(self) -> None:
        loaded: dict[SessionId, tuple[session_domain.State, int]] = {}
        async for stored in self._session.store.session_streams(self.number):
            state, _ = loaded.get(stored.session_id, (session_domain.NotCreated(), 0))
            loaded[stored.session_id] = (
                session_domain.evolve(state, stored.event),
                stored.stream_version,
            )
        limits = [session_domain.options_of(state).pacing for state, _ in loaded.values()]
        if any(self._session.pace.for_session(one).is_on for one in limits):
            await self._load_send_histories()
        for session_id, (state, version) in loaded.items():
            if not isinstance(state, session_domain.Deleted):
                self._add(session_id, state, version)

    async def _load_send_histories(self) -> None:
        day = self._session.clock().replace(hour=0, minute=0, second=0, microsecond=0)
        sent = await self._session.store.sent_since(self.number, day)
        self._send_histories = {one: SendHistory(*facts) for one, facts in sent.items()}

    def _stored(self, events: list[StoredEvent]) -> None:
        """Relay stored events, and count outcomes."""
        for stored in events:
            if stored.type in OUTCOMES:
                self._session.metrics.outcomes[stored.type].inc()
        self.relay.enqueue(events)

    def _restore(self, events: list[StoredEvent], content_bytes: int) -> None:
        """Queue an open message. A message in state Sending is ended by the takeover."""
        state = message_state(events)
        if not isinstance(state, message_domain.Queued | message_domain.Sending):
            return
        session_id = events[0].session_id
        message = OpenMessage.restored(state, events, content_bytes)
        if isinstance(state, message_domain.Sending):
            self._interrupted_sends.append((session_id, message))
        else:
            owner = self.sessions.get(session_id)
            if owner is None:  # deleted before its queue had failed
                owner = self._add(session_id, session_domain.Deleted(), 0)
            owner.runner.enqueue(message)

    async def run(self, ready: asyncio.Event) -> None:
        """Take over and run all sessions until cancelled. Sets `ready` once they are public."""
        async with asyncio.TaskGroup() as group:
            self._tasks = group
            group.create_task(self.relay.run())
            group.create_task(self._run_retention())
            await self._announce_takeover()
            group.create_task(self._expire_messages())
            group.create_task(self.schedule.run())
            group.create_task(self.context.media_keeping.run(self.number, self.sessions))
            for owner in self.sessions.values():
                group.create_task(self._run_owner(owner))
            await self.relay.wait_flushed()
            if self.phase is PartitionPhase.TAKING_OVER:
                self._enter(PartitionPhase.RUNNING)
            ready.set()

    async def _expire_messages(self) -> None:
        """Fail expired messages in every session state, and without the broker."""
        while True:
            await asyncio.sleep(EXPIRE_EVERY_SECONDS)
            now = self._session.clock()
            for owner in list(self.sessions.values()):
                await owner.runner.expire(now)

    async def _run_retention(self) -> None:
        """Delete what is not needed periodically, after a random delay that spreads the load."""
        await asyncio.sleep(random.uniform(0, FIRST_REMOVAL_WITHIN_SECONDS))  # noqa: S311 - spreads load
        while True:
            try:
                await self.context.retention.remove(self.number, self.token, self._session.clock())
            except DATABASE_ERRORS as error:
                log.info("nothing_removed_yet", partition=self.number, error=repr(error))
            await asyncio.sleep(REMOVE_EVERY_SECONDS)

    async def _announce_takeover(self) -> None:
        await asyncio.gather(
            *(owner.announce_takeover() for owner in self.sessions.values()),
            *(self._end_interrupted_send(*lost) for lost in tuple(self._interrupted_sends)),
        )

    async def _end_interrupted_send(self, session_id: SessionId, message: OpenMessage) -> None:
        """Record an unknown outcome: the former owner ended during this send."""
        unknown = message_domain.outcome_unknown(
            message.facts, "The gateway was interrupted while sending."
        )
        appender = MessageAppender(session_id, self.number, self._session.writer)
        with resumed_trace(message.traceparent):
            await appender.append(message, unknown)
        self._interrupted_sends.remove((session_id, message))

    async def _run_owner(self, owner: SessionOwner) -> None:
        """Run a session until it is deleted: then nothing of it is kept."""
        await owner.run()
        del self.sessions[owner.id]

    def owner(self, session_id: SessionId) -> SessionOwner | None:
        """The owner of an existing session; None for an unknown or deleted one."""
        owner = self.sessions.get(session_id)
        return owner if owner is not None and owner.status is not None else None

    async def get_or_create_owner(self, session_id: SessionId) -> SessionOwner | None:
        """The owner of a session; created for an unknown session. None for a deleted one."""
        if session_id not in self.sessions:
            state: session_domain.State = session_domain.NotCreated()
            for stored in await self._session.store.stream(session_stream(session_id)):
                state = session_domain.evolve(state, stored.event)
            if isinstance(state, session_domain.Deleted):
                return None
        if session_id not in self.sessions:  # no other command created it meanwhile
            owner = self._add(session_id, session_domain.NotCreated(), 0)
            assert self._tasks is not None
            # In an empty context: the session's life is no part of the command's trace.
            self._tasks.create_task(self._run_owner(owner), context=Context())
        return self.sessions[session_id]

    def _add(
        self, session_id: SessionId, state: session_domain.State, version: int
    ) -> SessionOwner:
        owner = SessionOwner(
            session_id,
            self.number,
            self._session,
            state=state,
            version=version,
            history=self._send_histories.get(session_id, SendHistory(0, None)),
        )
        self.sessions[session_id] = owner
        return owner

    def session_paces(self) -> Iterable[SessionPace]:
        """Send rates of the sessions that have a limit."""
        for owner in self.sessions.values():
            if (
                owner.status is not None
                and (pace := owner.runner.pace.to_contract(owner.id)) is not None
            ):
                yield pace

    def relay_checkpoint(self) -> RelayCheckpoint | None:
        """Relay checkpoint, and the lowest position at which an unfinished message may start.

        None while the partition loads: its open messages are not in memory, and a checkpoint
        without them would hide them from every later owner.

        A message between its append and its place in the runner is not counted. Its confirm comes
        later than that place: the checkpoint does not pass it.
        """
        if self.phase is PartitionPhase.LOADING:
            return None
        oldest = [
            position
            for owner in self.sessions.values()
            if (position := owner.runner.oldest_position) is not None
        ]
        oldest += [message.queued_position for _, message in self._interrupted_sends]
        return RelayCheckpoint(
            partition=self.number,
            token=self.token,
            relayed=self.relay.relayed_position,
            open=min(oldest, default=self.relay.relayed_position),
        )

    async def drain(self) -> None:
        """Await the sends in flight, stop the engines, then publish the rest."""
        owners = list(self.sessions.values())
        await asyncio.gather(*(owner.runner.drain() for owner in owners))
        self._enter(PartitionPhase.LEAVING)  # the sessions work until here
        await asyncio.gather(*(owner.leave() for owner in owners))
        await self.relay.wait_flushed()

    async def stop_engines(self) -> None:
        await asyncio.gather(*(owner.leave() for owner in self.sessions.values()))
