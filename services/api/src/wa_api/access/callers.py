"""Identifies callers: the operator, an API key within its scopes, or a session by its token."""

from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from wa_api.access import api_keys, credentials
from wa_api.access.api_keys import ApiKeys, KeyHolder
from wa_api.access.caller import Caller, CallerKind
from wa_api.access.credentials import Credentials, TokenHolder
from wa_api.access.flood_gate import token_of
from wa_api.access.scopes import Scope
from wa_api.access.sign_in import COOKIE, SignIn
from wa_api.http.parts import Part, parts_of
from wa_api.http.problems import Problem, not_found, unauthorized

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
