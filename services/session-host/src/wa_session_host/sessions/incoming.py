"""Messages that arrive at a session, and what people do to messages, as events."""

from typing import Any
from uuid import uuid5

import structlog

from wa_contracts.ids import MessageId, SessionId, message_stream, new_id
from wa_contracts.message_events import (
    MessageEchoed,
    MessageEdited,
    MessageReacted,
    MessageReceived,
    MessageRevoked,
)
from wa_contracts.session_events import Event, SessionUpdated
from wa_contracts.session_options import Receive
from wa_runtime.postgres import DATABASE_ERRORS
from wa_session_host.domain.observations import ChangeSeen, MessageSeen, ReceivedMedia, chat_kind
from wa_session_host.sessions.context import SessionContext
from wa_session_host.store.stored_event import Append, VersionConflict

log = structlog.get_logger()

_CHAT_OPTIONS = {"group": "groups", "story": "stories", "channel": "channels"}
"""Kinds of chats that an option of the session leaves out."""


class Incoming:
    """Records one session's incoming messages, each once."""

    def __init__(self, session_id: SessionId, partition: int, context: SessionContext) -> None:
        self._session_id = session_id
        self._partition = partition
        self._store = context.store
        self._writer = context.writer
        self._metrics = context.metrics
        self._media = context.incoming_media

    async def record(self, seen: MessageSeen | ChangeSeen, options: SessionUpdated) -> None:
        """Record what arrived and the options take; ignore a redelivery by WhatsApp."""
        if isinstance(seen, MessageSeen):
            self._metrics.incoming.labels(seen.kind, seen.details.chat_kind).inc()
        if not _is_wanted(seen, options.receive):
            return
        if isinstance(seen, ChangeSeen):
            await self._record_change(seen)
        else:
            message_id = self._id_of(seen.chat, seen.message_id)
            if options.keep_media and seen.media is not None and not seen.is_own:
                await self._keep(message_id, seen.media)
            await self._append_once(message_id, _message(message_id, seen), seen.media)

    async def _keep(self, message_id: MessageId, media: ReceivedMedia) -> None:
        """Have the media kept. Before the append, so that a crash between both loses neither."""
        try:
            await self._media.want(self._partition, self._session_id, message_id, media)
        except DATABASE_ERRORS as error:
            self._metrics.media_kept.labels("failed").inc()
            log.warning("media_not_kept", message_id=str(message_id), reason=repr(error))

    async def _record_change(self, seen: ChangeSeen) -> None:
        target = await self._store.message_of(self._session_id, seen.of) if seen.of_own else None
        target = target or self._id_of(seen.chat, seen.of)
        await self._append_once(self._id_of(seen.chat, seen.stanza_id), _change(target, seen), None)

    def _id_of(self, chat: str, whatsapp_id: str) -> MessageId:
        return MessageId(uuid5(self._session_id, f"{chat}/{whatsapp_id}"))

    async def _append_once(
        self, message_id: MessageId, event: Event, media: ReceivedMedia | None
    ) -> None:
        cause = new_id()
        try:
            await self._writer.append(
                Append(
                    partition=self._partition,
                    session_id=self._session_id,
                    stream=message_stream(message_id),
                    expected_version=0,
                    events=(event,),
                    correlation_id=cause,
                    causation_id=cause,
                    content=media,
                )
            )
        except VersionConflict:
            return


def _is_wanted(seen: MessageSeen | ChangeSeen, receive: Receive) -> bool:
    if seen.is_own and not receive.echoes:
        return False
    if isinstance(seen, MessageSeen):
        chat = seen.details.chat_kind
    else:
        chat = chat_kind(seen.chat.rpartition("@")[2])
    option = _CHAT_OPTIONS.get(chat)
    return option is None or bool(getattr(receive, option))


def _message(message_id: MessageId, seen: MessageSeen) -> MessageReceived:
    kind = MessageEchoed if seen.is_own else MessageReceived
    return kind(
        id=message_id,
        message_id=seen.message_id,
        chat=seen.chat,
        sender=seen.sender,
        sender_number=seen.sender_number,
        sender_lid=seen.sender_lid,
        type=seen.kind,
        text=seen.text,
        media_mime_type=seen.media.mime_type if seen.media else None,
        media_size=seen.media.size if seen.media else None,
        file_name=seen.media.file_name if seen.media else None,
        quoted_message_id=seen.quoted_message_id,
        is_group=seen.is_group,
        received_at=seen.at,
        **dict(seen.details),
    )


def _change(target: MessageId, seen: ChangeSeen) -> Event:
    about: dict[str, Any] = {
        "id": target,
        "message_id": seen.of,
        "chat": seen.chat,
        "sender": seen.sender,
        "sender_number": seen.sender_number,
        "sender_lid": seen.sender_lid,
        "sender_name": seen.sender_name,
        "from_me": seen.is_own,
    }
    match seen.change:
        case "reacted":
            return MessageReacted(**about, emoji=seen.text or "", reacted_at=seen.at)
        case "edited":
            return MessageEdited(**about, text=seen.text, edited_at=seen.at)
        case "revoked":
            return MessageRevoked(**about, revoked_at=seen.at)
