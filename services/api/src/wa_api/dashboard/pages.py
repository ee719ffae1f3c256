"""Renders the dashboard's templates. All values are escaped; all assets are local."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from wa_api.access.callers import is_signed_in
from wa_api.access.sign_in import COOKIE, SignIn
from wa_api.dashboard import reasons as status_reasons
from wa_api.dashboard import webhook_words as words
from wa_api.dashboard import words as status_words
from wa_api.http.base_path import base_path_of

HERE = Path(__file__).parent
STATIC = HERE / "static"
EXAMPLE_ORIGIN = "http://localhost:3000"

_BACKTICKS = re.compile(r"`([^`]+)`")
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


def _number(digits: str | None) -> str:
    """A phone number with a leading plus."""
    return f"+{digits}" if digits else ""


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain_time(moment: datetime) -> str:
    """UTC time for browsers without scripts. The page's script shows local time."""
    return f"{moment.astimezone(UTC):%d %b %Y, %H:%M:%S} UTC"


def _prose(text: str) -> Markup:
    """A docstring as HTML: text in backticks becomes code."""
    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, iso=_iso, plain_time=_plain_time, prose=_prose)
    environment.globals.update(
        word_of=status_words.word,
        tone_of=status_words.tone,
        reason_of=status_reasons.reason,
        not_linked=status_reasons.not_linked,
        cause_of=status_reasons.cause,
        past_reason_of=status_reasons.past_reason,
        now=lambda: datetime.now(UTC),
        snippet=_snippet,
        words=status_words.WORDS,
        ticks=status_words.TICKS,
        linkable=status_words.LINKABLE,
        messageable=status_words.MESSAGEABLE,
        out_of_reach=status_reasons.OUT_OF_REACH,
        endpoint_words=words.endpoint_words,
        delivery_words=words.delivery_words,
        host_and_path=words.host_and_path,
    )
    return environment


def _snippet(name: str, origin: str) -> str:
    """An example program with this installation's address."""
    return _SNIPPETS[name].replace(EXAMPLE_ORIGIN, origin)


_SNIPPETS = {
    path.name: path.read_text().rstrip("\n")
    for path in sorted((HERE / "templates" / "snippets").iterdir())
}
_templates = _environment()


def origin_of(request: Request) -> str:
    """The address of the gateway here, for the examples. An invalid Host header is ignored."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        return EXAMPLE_ORIGIN
    return f"{request.url.scheme}://{host}{base_path_of(request.scope)}"


def page(
    template: str, request: Request, sign_in: SignIn, status: int = 200, **values: Any
) -> HTMLResponse:
    """Render a whole page for this request's caller."""
    cookie = request.cookies.get(COOKIE, "")
    signed_in = is_signed_in(request, sign_in)
    text = _templates.get_template(template).render(
        request=request,
        base=base_path_of(request.scope),
        signed_in=signed_in,
        csrf_token=sign_in.csrf_token(cookie) if signed_in else "",
        origin=origin_of(request),
        schedule_example=f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        **values,
    )
    return HTMLResponse(text, status, {"Cache-Control": "no-store", "Vary": "Cookie, Host"})


def fragment(template: str, request: Request, **values: Any) -> HTMLResponse:
    base = base_path_of(request.scope)
    text = _templates.get_template(template).render(base=base, **values)
    return HTMLResponse(text, headers={"Cache-Control": "no-store"})
