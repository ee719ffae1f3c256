"""Who makes a request, and what they may use."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from wa_api.access.api_keys import KeyHolder, Rights
from wa_api.audit import Actor, ActorKind
from wa_api.http.problems import invalid_field, not_found, unauthorized


class CallerKind(StrEnum):
    """How the caller is known."""

    ADMIN_KEY = "admin_key"
    PAGE = "page"
    API_KEY = "api_key"
    SESSION_TOKEN = "session_token"  # noqa: S105 - a kind of caller


@dataclass(frozen=True)
class Caller:
    """Who makes a request. `sessions` are those that the caller may use: None for all.

    `key` is None except for an API key, `token` except for a session's token. `address` is the
    client's.
    """

    kind: CallerKind
    address: str
    sessions: frozenset[UUID] | None = None
    key: KeyHolder | None = None
    token: str | None = field(default=None, repr=False)

    @property
    def actor(self) -> Actor:
        """Who it is, for the audit log. A session's token changes nothing that is noted there."""
        if self.key is not None:
            return Actor(ActorKind.API_KEY, self.key.name, self.address, self.key.id)
        if self.kind is CallerKind.PAGE:
            return Actor(ActorKind.PAGE, "dashboard", self.address)
        assert self.kind is CallerKind.ADMIN_KEY
        return Actor(ActorKind.ADMIN_KEY, "admin key", self.address)

    @property
    def rights(self) -> Rights | None:
        """An API key's rights; None: all."""
        return None if self.key is None else self.key.rights

    @property
    def stream_owner(self) -> Hashable | None:
        """Whose open streams are counted together; None: they are not limited."""
        if self.kind is CallerKind.SESSION_TOKEN:
            return self.sessions
        return None if self.key is None else self.key.id

    def sends_of(self, session_id: UUID) -> Hashable:
        """Whose sends through this session are counted together."""
        return self.token or session_id

    def among(self, session_id: UUID | None) -> frozenset[UUID] | None:
        """The sessions to look through, of which the request names one or none; None: all."""
        if session_id is None:
            return self.sessions
        asked = frozenset({session_id})
        return asked if self.sessions is None else asked & self.sessions

    def one_session(self, given: UUID | None) -> UUID:
        """The session that the request names, or the caller's only one.

        Raises:
            Problem: 400 if none is named; 404 for another session than the caller's.
        """
        if given is None and self.sessions is not None and len(self.sessions) == 1:
            return next(iter(self.sessions))
        if given is None:
            raise invalid_field(
                "sessionId", "'sessionId' is required, except with a session's token."
            )
        if self.sessions is not None and given not in self.sessions:
            raise not_found("session")
        return given

    def session_to_send(self, given: UUID | None) -> UUID:
        """The same, for requests that take a session's token first of all.

        Raises:
            Problem: See `one_session`; 401 if the operator names no session.
        """
        if given is None and self.kind in {CallerKind.ADMIN_KEY, CallerKind.PAGE}:
            raise unauthorized("Give a session's token, or name the session as 'sessionId'.")
        return self.one_session(given)
