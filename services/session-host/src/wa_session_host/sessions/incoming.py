"""Messages and calls that arrive at a session, and what people do to messages, as events."""

from functools import partial
from uuid import uuid5

import structlog

from wa_contracts.ids import MessageId, SessionId, call_stream, message_stream, new_id
from wa_contracts.internal.questions import DescribeGroup
from wa_contracts.message_events import MessageReceived
from wa_contracts.session_events import Event, SessionUpdated
from wa_contracts.session_options import Receive
from wa_runtime.postgres import DATABASE_ERRORS
from wa_runtime.retries import until_available
from wa_session_host.domain import arrivals
from wa_session_host.domain.observations import (
    CallSeen,
    ChangeSeen,
    MessageSeen,
    ReceivedMedia,
    chat_kind,
)
from wa_session_host.domain.proof import chat_of
from wa_session_host.engine.port import AskFailed
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.engine_calls import EngineCalls
from wa_session_host.store.stored_event import Append, StoredEvent, VersionConflict, poll_options

log = structlog.get_logger()

_CHAT_OPTIONS = {"group": "groups", "story": "stories", "channel": "channels"}
"""Kinds of chats that an option of the session leaves out."""
RESTRICTED = frozenset({"edited", "revoked"})
"""Changes that not everybody may make."""


class Incoming:
    """Records what arrives at one session, each once."""

    def __init__(
        self, session_id: SessionId, partition: int, context: SessionContext, calls: EngineCalls
    ) -> None:
        """`calls` tell who the admins of a group are."""
        self._session_id = session_id
        self._partition = partition
        self._store = context.store
        self._writer = context.writer
        self._metrics = context.metrics
        self._media = context.incoming_media
        self._calls = calls

    async def record(
        self, seen: MessageSeen | ChangeSeen | CallSeen, options: SessionUpdated
    ) -> None:
        """Record what arrived and the options take; ignore a redelivery by WhatsApp."""
        self._metrics.incoming.labels(*_kinds(seen)).inc()
        if not _is_wanted(seen, options.receive):
            return
        match seen:
            case CallSeen():
                await self._record_call(seen)
            case ChangeSeen():
                await self._record_change(seen)
            case MessageSeen():
                await self._record_message(seen, keep_media=options.keep_media)

    async def _record_message(self, seen: MessageSeen, *, keep_media: bool = False) -> None:
        message_id = self._id_of(seen.chat, seen.message_id)
        if keep_media and seen.media is not None and not seen.is_own:
            await self._keep(message_id, seen.media)
        event = arrivals.message(message_id, seen)
        await self._append_once(message_stream(message_id), event, seen.media)

    async def _record_call(self, seen: CallSeen) -> None:
        call_id = uuid5(self._session_id, f"call/{seen.call_id}")
        event = arrivals.call(call_id, seen)
        before = await self._stream(call_stream(call_id))
        if not any(one.type == event.TYPE for one in before):
            await self._append(call_stream(call_id), len(before), event)

    async def _keep(self, message_id: MessageId, media: ReceivedMedia) -> None:
        """Have the media kept. Before the append, so that a crash between both loses neither."""
        try:
            await self._media.want(self._partition, self._session_id, message_id, media)
        except DATABASE_ERRORS as error:
            self._metrics.media_kept.labels("failed").inc()
            log.warning("media_not_kept", message_id=str(message_id), reason=repr(error))

    async def _record_change(self, seen: ChangeSeen) -> None:
        own = None
        if seen.of_own or seen.change in RESTRICTED:  # ours may be meant, rightly or not
            find = partial(self._store.message_of, self._session_id, seen.of)
            own = await until_available("find_message", find)
        target = own or self._id_of(seen.chat, seen.of)
        events = await self._stream(message_stream(target))
        if not await self._is_allowed(seen, events):
            await self._record_message(arrivals.without_right(seen))
            return
        options = None
        if seen.change == "voted":
            options = arrivals.chosen(seen, poll_options(events))
        event = arrivals.change(target, seen, options)
        await self._append_once(message_stream(self._id_of(seen.chat, seen.stanza_id)), event)

    async def _is_allowed(self, seen: ChangeSeen, of: list[StoredEvent]) -> bool:
        """Only its author edits a message; its author or an admin of the group deletes it."""
        if seen.is_own or seen.change not in RESTRICTED or not of:
            return True
        original = of[0].event
        if isinstance(original, MessageReceived) and arrivals.is_author(seen, original):
            return True
        return seen.change == "revoked" and await self._is_admin(seen)

    async def _is_admin(self, seen: ChangeSeen) -> bool:
        """Whether the group's admins include the person; no, if WhatsApp does not tell."""
        if not seen.chat.endswith("@g.us"):
            return False
        try:
            groups = (await self._calls.ask(DescribeGroup(jid=seen.chat))).groups
        except AskFailed:
            return False
        admins = {
            address
            for group in groups
            for one in group.participants
            if one.is_admin
            for address in (one.jid, one.lid, one.phone_number and chat_of(one.phone_number))
        }
        return bool(admins & arrivals.addresses(seen))

    def _id_of(self, chat: str, whatsapp_id: str) -> MessageId:
        return MessageId(uuid5(self._session_id, f"{chat}/{whatsapp_id}"))

    async def _stream(self, name: str) -> list[StoredEvent]:
        return await until_available("read_stream", partial(self._store.stream, name))

    async def _append_once(
        self, stream: str, event: Event, media: ReceivedMedia | None = None
    ) -> None:
        """Append to a new stream, or to one that says only that it could not be decrypted."""
        try:
            await self._append(stream, 0, event, media)
        except VersionConflict:
            before = await self._stream(stream)
            is_open = all(arrivals.waits_for_content(one.event) for one in before)
            if is_open and not arrivals.waits_for_content(event):
                await self._append(stream, len(before), event, media)

    async def _append(
        self, stream: str, version: int, event: Event, media: ReceivedMedia | None = None
    ) -> None:
        cause = new_id()
        await self._writer.append(
            Append(
                partition=self._partition,
                session_id=self._session_id,
                stream=stream,
                expected_version=version,
                events=(event,),
                correlation_id=cause,
                causation_id=cause,
                content=media,
            )
        )


def _kinds(seen: MessageSeen | ChangeSeen | CallSeen) -> tuple[str, str]:
    """What arrived, and the kind of its chat."""
    match seen:
        case CallSeen():
            return "call", "group" if seen.is_group else "direct"
        case ChangeSeen():
            return seen.change, chat_kind(seen.chat.rpartition("@")[2])
        case MessageSeen():
            return seen.kind, seen.details.chat_kind


def _is_wanted(seen: MessageSeen | ChangeSeen | CallSeen, receive: Receive) -> bool:
    kind, chat = _kinds(seen)
    if kind == "call":
        return receive.calls
    if not isinstance(seen, CallSeen) and seen.is_own and not receive.echoes:
        return False
    option = _CHAT_OPTIONS.get(chat)
    return option is None or bool(getattr(receive, option))
