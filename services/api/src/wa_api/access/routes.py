"""Sign-in and sign-out of the dashboard."""

from urllib.parse import parse_qs

import structlog
from fastapi import APIRouter, Request, Response
from pydantic_core import from_json

from wa_api.access.callers import CSRF_HEADER, check_admin_key, check_csrf
from wa_api.access.sign_in import COOKIE, LIFETIME, SignIn
from wa_api.http.base_path import base_path_of
from wa_api.http.parts import Part
from wa_api.http.problems import Problem, invalid_field
from wa_api.http.request_body import read_body

log = structlog.get_logger()
router = APIRouter(include_in_schema=False)

HOME = "/"
REFUSED = "/?sign-in=refused"
WAIT = "/?sign-in=wait"
TOO_MANY = 429
_PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


@router.post("/login")
async def log_in(request: Request, sign_in: Part[SignIn]) -> Response:
    """Sign in with the field `key` of a form or JSON object. Forms are redirected."""
    fields = await _fields(request)
    wants_page = _is_form(request)
    if "key" not in fields:
        raise invalid_field("key", "'key' is required.")
    try:
        _check(request, sign_in, fields["key"])
    except Problem as problem:
        if wants_page:
            return _redirect(WAIT if problem.status == TOO_MANY else REFUSED)
        raise
    if wants_page:
        return _signed_in(request, sign_in, _redirect(HOME))
    done = Response(b'{"success":true}', media_type="application/json", headers=_PRIVATE)
    return _signed_in(request, sign_in, done)


@router.get("/login")
async def follow_log_in_link(request: Request, sign_in: Part[SignIn], key: str = "") -> Response:
    """Sign in by the printed link, then redirect so that the key leaves the address bar."""
    try:
        _check(request, sign_in, key)
    except Problem as problem:
        if problem.status == TOO_MANY:
            raise
        return _redirect(REFUSED)
    return _signed_in(request, sign_in, _redirect(HOME))


@router.post("/logout")
async def log_out(request: Request, sign_in: Part[SignIn]) -> Response:
    """Sign out. Requires the CSRF token in its header or as the form field `csrf_token`."""
    cookie = request.cookies.get(COOKIE)
    if cookie is not None and sign_in.is_signed_in(cookie):
        given = request.headers.get(CSRF_HEADER) or (await _fields(request)).get("csrf_token", "")
        check_csrf(sign_in, cookie, given)
    response = _redirect(HOME)
    response.delete_cookie(COOKIE, path=_cookie_path(request))
    return response


def _check(request: Request, sign_in: SignIn, key: str) -> None:
    try:
        check_admin_key(request, sign_in, key)
    except Problem:
        log.info("sign_in_refused")
        raise
    log.info("signed_in")


def _signed_in(request: Request, sign_in: SignIn, response: Response) -> Response:
    """SameSite is Lax, not Strict: a login link opened from a chat or mail must work."""
    response.set_cookie(
        COOKIE,
        sign_in.new_cookie(),
        max_age=int(LIFETIME.total_seconds()),
        path=_cookie_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def _cookie_path(request: Request) -> str:
    return f"{base_path_of(request.scope)}/"


def _redirect(to: str) -> Response:
    return Response(status_code=303, headers={"Location": to, **_PRIVATE})


def _is_form(request: Request) -> bool:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return content_type == "application/x-www-form-urlencoded"


async def _fields(request: Request) -> dict[str, str]:
    body = await read_body(request)
    try:
        if _is_form(request):
            return {name: values[-1] for name, values in parse_qs(body.decode()).items()}
        read = from_json(body or b"{}")
    except ValueError as error:
        raise invalid_field("body", "The body is neither a form nor valid JSON.") from error
    if not isinstance(read, dict):
        raise invalid_field("body", "The body must be a JSON object.")
    return {str(name): value for name, value in read.items() if isinstance(value, str)}
