"""Identifies callers: the operator (admin key or signed-in browser) or a session (token)."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from wa_api.access.credentials import PREFIX, Credentials, TokenHolder
from wa_api.access.flood_gate import token_of
from wa_api.access.sign_in import COOKIE, SignIn
from wa_api.http.parts import Part
from wa_api.http.problems import Problem, unauthorized

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-CSRF-Token"

_admin_scheme = HTTPBearer(auto_error=False, scheme_name="AdminKey", description="ADMIN_KEY.")
token_scheme = HTTPBearer(
    auto_error=False, scheme_name="SessionToken", description="The token of one session."
)


@dataclass(frozen=True)
class Reader:
    """A caller's read access: everything (None) or one session."""

    session_id: UUID | None


def bearer(request: Request) -> str | None:
    return token_of(request.headers)


def is_signed_in(request: Request, sign_in: SignIn) -> bool:
    """True if the browser is signed in. Does not check CSRF."""
    return sign_in.is_signed_in(request.cookies.get(COOKIE))


async def require_admin(
    request: Request, sign_in: Part[SignIn], _: Annotated[object, Depends(_admin_scheme)] = None
) -> None:
    """Require the operator.

    Raises:
        Problem: 401; 403 for an unsafe request of a browser without the CSRF token.
    """
    _check_admin(request, sign_in)


def check_admin_key(request: Request, sign_in: SignIn, given: str) -> None:
    """Require the admin key. Wrong keys are counted by address; the right one is never refused.

    A session's token is no guess: it is refused uncounted.

    Raises:
        Problem: 401; 429 after too many wrong keys.
    """
    if sign_in.is_admin_key(given):
        return
    client = request.client.host if request.client else ""
    if not given.startswith(PREFIX) and (seconds := sign_in.count_wrong_key(client)):
        raise Problem(
            "too_many_attempts",
            "Too many wrong keys. Wait a little before the next try.",
            headers={"Retry-After": str(seconds)},
        )
    raise unauthorized("The admin key is not valid.")


def _check_admin(request: Request, sign_in: SignIn) -> None:
    token = bearer(request)
    if token is not None:
        check_admin_key(request, sign_in, token)
        return
    cookie = request.cookies.get(COOKIE)
    if cookie is None or not sign_in.is_signed_in(cookie):
        raise unauthorized("Sign in, or give the admin key as a Bearer token.")
    if request.method not in SAFE_METHODS:
        check_csrf(sign_in, cookie, request.headers.get(CSRF_HEADER, ""))


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


async def require_reader(
    request: Request,
    sign_in: Part[SignIn],
    credentials: Part[Credentials],
    _admin: Annotated[object, Depends(_admin_scheme)] = None,
    _token: Annotated[object, Depends(token_scheme)] = None,
) -> Reader:
    """The operator, or a session by its token.

    Raises:
        Problem: 401 or 403.
        DatabaseUnavailable: The token cannot be checked.
    """
    given = bearer(request)
    holder = await credentials.holder(given) if given else None
    if holder is not None:
        return Reader(holder.session_id)
    _check_admin(request, sign_in)
    return Reader(None)


Admin = Depends(require_admin)
TokenOf = Annotated[TokenHolder, Depends(require_token)]
ReaderOf = Annotated[Reader, Depends(require_reader)]
