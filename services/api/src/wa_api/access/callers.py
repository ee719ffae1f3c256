"""Identifies callers: the operator, an API key within its scopes, or a session by its token."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from wa_api.access import api_keys, credentials
from wa_api.access.api_keys import ApiKeys, KeyHolder, Rights
from wa_api.access.credentials import Credentials, TokenHolder
from wa_api.access.flood_gate import token_of
from wa_api.access.scopes import Scope
from wa_api.access.sign_in import COOKIE, SignIn
from wa_api.audit import Actor, ActorKind
from wa_api.http.parts import Part, parts_of
from wa_api.http.problems import Problem, invalid_field, not_found, unauthorized

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-CSRF-Token"

_admin_scheme = HTTPBearer(auto_error=False, scheme_name="AdminKey", description="ADMIN_KEY.")
_key_scheme = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="A key from `POST /api/keys`, with one of the named scopes.",
)
token_scheme = HTTPBearer(
    auto_error=False, scheme_name="SessionToken", description="The token of one session."
)


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


def bearer(request: Request) -> str | None:
    return token_of(request.headers)


def is_session_token(given: str) -> bool:
    """True if it has the form of a session's token."""
    return given.startswith(credentials.PREFIX)


def is_signed_in(request: Request, sign_in: SignIn) -> bool:
    """True if the browser is signed in. Does not check CSRF."""
    return sign_in.is_signed_in(request.cookies.get(COOKIE))


async def require_admin(
    request: Request,
    sign_in: Part[SignIn],
    keys: Part[ApiKeys],
    _: Annotated[object, Depends(_admin_scheme)] = None,
) -> Caller:
    """Require the operator.

    Raises:
        Problem: See `operator`. An API key gets 403: there is no scope for this.
    """
    return await operator(request, sign_in, keys, ())


def check_admin_key(request: Request, sign_in: SignIn, given: str) -> None:
    """Require the admin key. Wrong keys are counted by address; the right one is never refused.

    A session's token is no guess: it is refused uncounted.

    Raises:
        Problem: 401; 429 after too many wrong keys.
    """
    if sign_in.is_admin_key(given):
        return
    client = request.client.host if request.client else ""
    if not is_session_token(given) and (seconds := sign_in.count_wrong_key(client)):
        raise Problem(
            "too_many_attempts",
            "Too many wrong keys. Wait a little before the next try.",
            headers={"Retry-After": str(seconds)},
        )
    raise unauthorized("The admin key is not valid.")


async def operator(
    request: Request, sign_in: SignIn, keys: ApiKeys, scopes: tuple[Scope, ...]
) -> Caller:
    """The operator, or an API key that has one of the scopes and the session of the path.

    Raises:
        Problem: 401; 403 without the scope, or for an unsafe request of a browser without the CSRF
            token; 404 for a session that is not the key's; 429 after too many wrong keys.
        DatabaseUnavailable: The key cannot be checked.
    """
    address = request.client.host if request.client else ""
    given = bearer(request)
    if given is not None and given.startswith(api_keys.PREFIX):
        key = await keys.holder(given)
        if key is None:
            raise unauthorized("The API key is wrong, expired or revoked.")
        _check_scopes(key, scopes)
        caller = Caller(CallerKind.API_KEY, address, key.rights.sessions, key)
        _check_path(request, caller)
        return caller
    if given is not None:
        check_admin_key(request, sign_in, given)
        return Caller(CallerKind.ADMIN_KEY, address)
    cookie = request.cookies.get(COOKIE)
    if cookie is None or not sign_in.is_signed_in(cookie):
        raise unauthorized("Sign in, or give a key as a Bearer token.")
    if request.method not in SAFE_METHODS:
        check_csrf(sign_in, cookie, request.headers.get(CSRF_HEADER, ""))
    return Caller(CallerKind.PAGE, address)


def _check_scopes(key: KeyHolder, scopes: tuple[Scope, ...]) -> None:
    if not scopes:
        raise Problem("forbidden", "No API key may do this: it needs ADMIN_KEY.")
    if not key.rights.scopes.intersection(scopes):
        raise insufficient_scope(*scopes)


def insufficient_scope(*scopes: Scope) -> Problem:
    """403 that names the missing scope. Source: RFC 6750, 3.1."""
    told = " or ".join(f"'{scope}'" for scope in scopes)
    challenge = f'Bearer error="insufficient_scope", scope="{scopes[0]}"'
    return Problem(
        "insufficient_scope",
        f"This API key lacks the scope {told}.",
        headers={"WWW-Authenticate": challenge},
    )


def _check_path(request: Request, caller: Caller) -> None:
    """A session that is not the key's looks like one that does not exist."""
    named = request.path_params.get("session_id")
    if named is None or caller.sessions is None:
        return
    if str(named).lower() not in map(str, caller.sessions):
        raise not_found("session")


def check_csrf(sign_in: SignIn, cookie: str, given: str) -> None:
    """Require the CSRF token of this sign-in.

    Raises:
        Problem: 403.
    """
    if not sign_in.is_csrf_token(given, cookie):
        raise Problem(
            "csrf_failed", f"The {CSRF_HEADER} header is missing or wrong. Reload the page."
        )


async def require_token(
    request: Request,
    credentials: Part[Credentials],
    _: Annotated[object, Depends(token_scheme)] = None,
) -> TokenHolder:
    """The session of the request's token.

    Raises:
        Problem: 401.
        DatabaseUnavailable: The token cannot be checked.
    """
    return await holder_of_token(credentials, bearer(request))


async def holder_of_token(credentials: Credentials, token: str | None) -> TokenHolder:
    """The session of a token.

    Raises:
        Problem, DatabaseUnavailable: See `require_token`.
    """
    holder = await credentials.holder(token or "")
    if holder is None:
        raise unauthorized("The session token is missing, wrong or revoked.")
    return holder


def operator_with(*scopes: Scope) -> Any:
    """A dependency: the operator, or an API key with one of the scopes."""

    async def require(
        request: Request,
        sign_in: Part[SignIn],
        keys: Part[ApiKeys],
        _admin: Annotated[object, Depends(_admin_scheme)] = None,
        _key: Annotated[object, Security(_key_scheme, scopes=[*scopes])] = None,
    ) -> Caller:
        return await operator(request, sign_in, keys, scopes)

    return Depends(require)


def caller_with(*scopes: Scope) -> Any:
    """A dependency: the same, or a session by its token."""

    async def require(
        request: Request,
        _admin: Annotated[object, Depends(_admin_scheme)] = None,
        _key: Annotated[object, Security(_key_scheme, scopes=[*scopes])] = None,
        _token: Annotated[object, Depends(token_scheme)] = None,
    ) -> Caller:
        return await any_caller(request, scopes)

    return Depends(require)


async def any_caller(request: Request, scopes: tuple[Scope, ...]) -> Caller:
    """The operator, an API key with one of the scopes, or a session by its token.

    Raises:
        Problem, DatabaseUnavailable: See `operator`.
    """
    parts, given = parts_of(request), bearer(request)
    if given is not None and is_session_token(given):
        holder = await parts[Credentials].holder(given)
        if holder is None:
            raise unauthorized("The session token is wrong or revoked.")
        address = request.client.host if request.client else ""
        own = frozenset({holder.session_id})
        return Caller(CallerKind.SESSION_TOKEN, address, own, token=given)
    return await operator(request, parts[SignIn], parts[ApiKeys], scopes)


def security_of(*scopes: Scope) -> list[dict[str, list[str]]]:
    """The OpenAPI security of a route that calls `any_caller` itself."""
    return [
        {token_scheme.scheme_name: []},
        {_key_scheme.scheme_name: [*scopes]},
        {_admin_scheme.scheme_name: []},
    ]


Admin = Depends(require_admin)
TokenOf = Annotated[TokenHolder, Depends(require_token)]
MaySend = Annotated[Caller, caller_with(Scope.MESSAGES_SEND)]
MayRead = Annotated[Caller, caller_with(Scope.MESSAGES_READ)]
MaySendOrRead = Annotated[Caller, caller_with(Scope.MESSAGES_SEND, Scope.MESSAGES_READ)]
