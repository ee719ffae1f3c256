"""The operator's commands on sessions: create, restart, stop, log out, delete, pair."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from wa_api.access.credentials import Credentials
from wa_api.audit import Action, Actor, AuditLog, Change
from wa_api.database.pool import Database
from wa_api.owners.command_bus import ConfirmLost
from wa_api.owners.requests import OwnerRequests, OwnerSilent
from wa_api.sessions.views import Session, SessionViews, SessionWithToken
from wa_contracts.envelope import Envelope
from wa_contracts.ids import SessionId, new_id
from wa_contracts.internal.commands import (
    CreateSession,
    DeleteSession,
    LogOutSession,
    RequestPairingCode,
    RestartSession,
    SessionCommand,
    StopSession,
    UpdateSession,
)
from wa_contracts.internal.replies import PairingCode, Reply
from wa_contracts.internal.session_changes import SessionChanges
from wa_contracts.session_events import DesiredState, SessionStatus

ANSWER_SECONDS = 5.0
PAIRING_SECONDS = 30.0
_ACTIONS: Mapping[type[SessionCommand], Action] = {
    RestartSession: Action.SESSION_RESTART,
    StopSession: Action.SESSION_STOP,
    LogOutSession: Action.SESSION_LOGOUT,
}


@dataclass(frozen=True)
class Created:
    """A new session. `confirmed` is False if no host has handled the command yet."""

    session: SessionWithToken
    confirmed: bool


@dataclass(frozen=True)
class Updated:
    """A session after a change. `confirmed` is False if no host has handled the command yet."""

    session: Session
    confirmed: bool


class SessionLifecycle:
    """Publishes the operator's commands, notes them in the audit log, and waits for their results.

    Methods raise DatabaseUnavailable or BrokerUnavailable with nothing written, ConfirmLost if the
    command may have been written, and OwnerRefused.
    """

    def __init__(
        self,
        *,
        database: Database,
        credentials: Credentials,
        requests: OwnerRequests,
        views: SessionViews,
        audit: AuditLog,
    ) -> None:
        self._database = database
        self._credentials = credentials
        self._requests = requests
        self._views = views
        self._audit = audit

    async def create(
        self, actor: Actor, name: str | None, changes: SessionChanges | None = None
    ) -> Created:
        """Create a session with a token. The token is stored if the command may be written."""
        session_id = SessionId(new_id())
        options = None if changes == SessionChanges() else changes
        command = self._requests.command(CreateSession, session_id, name=name, changes=options)
        with self._requests.answers(command) as answers:
            async with self._database.transaction() as connection:
                token = await self._credentials.issue(connection, session_id)
                noted = Change(Action.SESSION_CREATE, session_id, details={"name": name})
                await self._audit.record(connection, actor, noted)
                in_doubt = await self._publish(command)
            if in_doubt is not None:
                raise in_doubt
            event = await _event(answers.first(ANSWER_SECONDS))
        if event is not None:
            await self._requests.projected(event)
        session = await self._views.session(session_id) or _awaiting(session_id, name, event)
        shown = SessionWithToken(
            **session.model_dump(by_alias=False), token=token.get_secret_value()
        )
        return Created(shown, confirmed=event is not None)

    async def update(
        self, actor: Actor, session_id: SessionId, changes: SessionChanges
    ) -> Updated | None:
        """Change options; return the session afterwards, or None if there is none."""
        session = await self._views.session(session_id)
        if session is None:
            return None
        if changes == SessionChanges():
            return Updated(session, confirmed=True)
        command = self._requests.command(UpdateSession, session_id, changes=changes)
        try:
            named = sorted({*changes.model_fields_set, *changes.cleared} - {"cleared"})
            noted = Change(Action.SESSION_UPDATE, session_id, details={"changed": named})
            answer = await self._ask(command, actor, noted)
        except OwnerSilent:
            return Updated(session, confirmed=False)
        if isinstance(answer, Envelope):
            await self._requests.projected(answer)
        session = await self._views.session(session_id)
        return None if session is None else Updated(session, confirmed=True)

    async def perform(
        self, actor: Actor, kind: type[SessionCommand], session_id: SessionId
    ) -> Session | None:
        """Restart, stop or log out; return the session afterwards, or None if there is none."""
        if await self._views.session(session_id) is None:
            return None
        command = self._requests.command(kind, session_id)
        event = await _event(self._ask(command, actor, Change(_ACTIONS[kind], session_id)))
        if event is not None:
            await self._requests.projected(event)
        return await self._views.session(session_id)

    async def delete(self, actor: Actor, session_id: SessionId) -> bool:
        """Log out and delete; the token is revoked at once. False if there is no such session."""
        async with self._database.transaction() as connection:
            if not await self._credentials.revoke(connection, session_id):
                return False
            await self._audit.record(connection, actor, Change(Action.SESSION_DELETE, session_id))
            in_doubt = await self._publish(self._requests.command(DeleteSession, session_id))
        if in_doubt is not None:  # the token stays revoked, and delete can be repeated
            raise in_doubt
        return True

    async def _ask(
        self,
        command: SessionCommand,
        actor: Actor,
        noted: Change,
        *,
        seconds: float = ANSWER_SECONDS,
    ) -> Envelope | Reply:
        """Publish a command and note it, both or neither, and wait for the answer."""
        with self._requests.answers(command) as answers:
            async with self._database.transaction() as connection:
                await self._audit.record(connection, actor, noted)
                in_doubt = await self._publish(command)
            if in_doubt is not None:
                raise in_doubt
            return await answers.first(seconds)

    async def _publish(self, command: SessionCommand) -> ConfirmLost | None:
        """Publish inside a transaction, which a command in doubt must not roll back."""
        try:
            await self._requests.publish(command)
        except ConfirmLost as error:
            return error
        return None

    async def pairing_code(
        self, actor: Actor, session_id: SessionId, phone_number: str
    ) -> PairingCode | None:
        """Request a code to enter on the phone with this number; None if there is no such session.

        Raises:
            OwnerSilent: No host answered in time.
        """
        if await self._views.session(session_id) is None:
            return None
        command = self._requests.command(RequestPairingCode, session_id, phone_number=phone_number)
        noted = Change(Action.SESSION_PAIR, session_id)
        answer = await self._ask(command, actor, noted, seconds=PAIRING_SECONDS)
        if not isinstance(answer, Reply) or answer.pairing_code is None:
            raise OwnerSilent
        return answer.pairing_code

    async def show_token(self, session_id: SessionId) -> SessionWithToken | None:
        token = await self._credentials.show(session_id)
        session = await self._views.session(session_id)
        if token is None or session is None:
            return None
        return SessionWithToken(
            **session.model_dump(by_alias=False), token=token.get_secret_value()
        )

    async def rotate_token(self, actor: Actor, session_id: SessionId) -> SessionWithToken | None:
        """Replace the token; the old one is refused at once. None if there is no such session."""
        async with self._database.transaction() as connection:
            if await self._credentials.rotate(connection, session_id) is None:
                return None
            await self._audit.record(connection, actor, Change(Action.TOKEN_ROTATE, session_id))
        return await self.show_token(session_id)


async def _event(answer: Awaitable[Envelope | Reply]) -> Envelope | None:
    try:
        found = await answer
    except OwnerSilent:
        return None
    return found if isinstance(found, Envelope) else None


def _awaiting(session_id: SessionId, name: str | None, event: Envelope | None) -> Session:
    """A session that is not projected yet."""
    return Session(
        session_id=session_id,
        name=name,
        phone_number=None,
        status=SessionStatus.STARTING,
        status_reason=None if event else "awaiting_host",
        desired_state=DesiredState.RUNNING,
        connected_at=None,
        created_at=event.occurred_at if event else datetime.now(UTC),
        last_error=None,
    )
