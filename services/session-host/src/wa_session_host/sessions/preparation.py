"""What a message needs before its send: its content and its media."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from wa_runtime.retries import until_available
from wa_session_host.domain.message import Content
from wa_session_host.engine.port import LinkPreview, OutgoingMessage
from wa_session_host.media.link_preview import link_preview
from wa_session_host.media.media_error import MediaError
from wa_session_host.sessions.context import SessionContext
from wa_session_host.sessions.open_message import OpenMessage


class Preparation:
    """Prepares one message at a time. `cancel` ends the preparation, not the task that waits."""

    def __init__(self, holder: object, context: SessionContext) -> None:
        """`holder` is whose contents are cached."""
        self._holder = holder
        self._contents = context.contents
        self._store = context.store
        self._media = context.media
        self._running: asyncio.Timeout | None = None
        self._cancelled = False

    @property
    def is_running(self) -> bool:
        return self._running is not None

    def cancel(self) -> None:
        assert self._running is not None
        self._running.reschedule(asyncio.get_running_loop().time())
        self._running, self._cancelled = None, True

    async def outgoing(self, message: OpenMessage, stack: AsyncExitStack) -> OutgoingMessage | None:
        """The message with its media, which `stack` deletes; None if it is cancelled meanwhile.

        Raises:
            MediaError: The message cannot be sent.
        """
        facts, self._cancelled = message.facts, False
        try:
            async with asyncio.timeout(None) as self._running:
                content = await self._content(message)
                ready = self._media.ready(facts.type, content)
                media = await stack.enter_async_context(ready)
                link = await self._link(content)
        except (TimeoutError, MediaError):
            if not self._cancelled:
                raise
        finally:
            self._running = None
        if self._cancelled:
            return None
        return OutgoingMessage(facts.to, facts.type, content.text, media, content.parts, link)

    async def _link(self, content: Content) -> LinkPreview | None:
        if content.parts is None or not content.parts.link_preview or not content.text:
            return None
        return await link_preview(self._media, content.text)

    async def _content(self, message: OpenMessage) -> Content:
        cached = self._contents.pop(self._holder, message.stream)
        if cached is not None:
            return cached
        return await until_available("read_content", partial(self._store.content, message.stream))
