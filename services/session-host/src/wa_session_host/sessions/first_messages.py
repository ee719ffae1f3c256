"""First messages to new chats, while WhatsApp lets a number open none (error 463)."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

from wa_contracts.ids import SessionId
from wa_contracts.internal.replies import ErrorDetail
from wa_contracts.session_events import REACHOUT_TIMELOCK
from wa_runtime.retries import until_available
from wa_session_host.domain.observations import (
    CallSeen,
    ChangeSeen,
    MessageSeen,
    ReachoutLocked,
    ReachoutOpen,
    SendObservation,
)
from wa_session_host.domain.proof import chat_of
from wa_session_host.domain.set_aside import SetAside, set_aside
from wa_session_host.store.event_store import EventStore

WAITING = ErrorDetail(
    code=REACHOUT_TIMELOCK,
    message="WhatsApp restricts this number: it may open no new chats for now. The gateway tries "
    "again by itself.",
)
_PEOPLE = ("@s.whatsapp.net", "@lid")


class FirstMessages:
    """Decides which messages wait. One first message at a time is tried, after growing pauses.

    A chat is known if the session sent to it or received from it, within the retention.
    """

    def __init__(
        self,
        session_id: SessionId,
        store: EventStore,
        tell: Callable[[SendObservation], Awaitable[None]],
    ) -> None:
        """`tell` is called when WhatsApp takes no first messages, and when it does again."""
        self._session_id = session_id
        self._store = store
        self._tell = tell
        self._known: set[str] | None = None
        self._next_try: SetAside | None = None

    @property
    def are_restricted(self) -> bool:
        return self._next_try is not None

    def follow(self, now: datetime, *, restricted: bool) -> bool:
        """Follow the session's state; whether a restriction ended.

        After a restart the next first message shows whether the restriction goes on.
        """
        was_restricted = self.are_restricted
        if not restricted:
            self._known = self._next_try = None
        elif not was_restricted:
            self._next_try = SetAside(WAITING, now, 0)
        return was_restricted and not restricted

    async def wait_of(self, to: str, now: datetime) -> SetAside | None:
        """Until when a message must wait; None if it may be tried now."""
        if self._next_try is None or self._next_try.until <= now:
            return None
        if not chat_of(to).endswith(_PEOPLE) or await self._is_known(to):
            return None
        return self._next_try

    async def refused(self, to: str, now: datetime) -> SetAside:
        """WhatsApp refused a first message: when the next one may be tried."""
        (await self._known_chats()).discard(chat_of(to))
        self._next_try = set_aside(self._next_try, WAITING, now)
        await self._tell(ReachoutLocked())
        return self._next_try

    async def accepted(self, to: str) -> None:
        """WhatsApp took a message. To a new chat, it shows that the restriction is over."""
        if self.are_restricted and chat_of(to).endswith(_PEOPLE) and not await self._is_known(to):
            await self._tell(ReachoutOpen())

    def is_met(self, seen: MessageSeen | ChangeSeen | CallSeen) -> None:
        """Somebody wrote or called: they are known from now on."""
        if self._known is None or (isinstance(seen, MessageSeen) and seen.is_group):
            return
        if isinstance(seen, CallSeen):
            addresses = (seen.caller, seen.caller_number)
        else:
            addresses = (seen.chat, seen.sender_number)
        self._known.update(chat_of(one) for one in addresses if one)

    async def _is_known(self, to: str) -> bool:
        return chat_of(to) in await self._known_chats()

    async def _known_chats(self) -> set[str]:
        if self._known is None:
            read = partial(self._store.known_chats, self._session_id)
            found = await until_available("read_known_chats", read)
            self._known = {chat_of(one) for one in found}
        return self._known
