"""A session's QR code as a picture or as text."""

import io
from uuid import UUID

import segno
from fastapi import APIRouter, Request, Response

from wa_api.access.callers import operator_with
from wa_api.access.scopes import Scope
from wa_api.http.documented import errors
from wa_api.http.parts import Part
from wa_api.http.problems import Problem, no_qr, not_found
from wa_api.sessions.views import QRCode, Session, SessionViews
from wa_contracts.internal.refusals import REFUSALS
from wa_contracts.session_events import SessionStatus

router = APIRouter(
    prefix="/api/sessions",
    tags=["sessions"],
    dependencies=[operator_with(Scope.SESSIONS_WRITE)],
)
"""Who has the code can link a phone: to see it is to change the session."""

PNG, SVG, JSON = "image/png", "image/svg+xml", "application/json"
_OFFERED = (PNG, SVG, JSON)


@router.get(
    "/{session_id}/qr",
    summary="The QR code to scan now",
    response_class=Response,
    responses={
        200: {
            "description": "By Accept: a picture, or its text with the time it is good until.",
            "content": {
                PNG: {"schema": {"type": "string", "format": "binary"}},
                SVG: {"schema": {"type": "string"}},
                JSON: {"schema": QRCode.model_json_schema(mode="serialization")},
            },
        },
        **errors(400, 401, 403, 404, 406, 503),
    },
)
async def get_qr(session_id: UUID, request: Request, sessions: Part[SessionViews]) -> Response:
    """404 with a code when there is none to show."""
    media_type = _preferred(request.headers.get("accept", "*/*"))
    session = await sessions.session(session_id)
    if session is None:
        raise not_found("session")
    code = await sessions.qr_code(session_id)
    if code is None:
        raise _absent(session)
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    return Response(_rendered(code, media_type), 200, headers, media_type)


def _rendered(code: QRCode, media_type: str) -> bytes:
    if media_type == JSON:
        return code.model_dump_json().encode()
    out = io.BytesIO()
    picture = segno.make(code.qr, error="l", micro=False)
    if media_type == SVG:
        picture.save(out, kind="svg", scale=6, border=4, light="white")
    else:
        picture.save(out, kind="png", scale=6, border=4)
    return out.getvalue()


_LINKED = {
    SessionStatus.CONNECTING,
    SessionStatus.WORKING,
    SessionStatus.DISCONNECTED,
    SessionStatus.RESTRICTED,
}


def _absent(session: Session) -> Problem:
    if session.status is SessionStatus.FAILED:
        why = session.last_error or REFUSALS[SessionStatus.FAILED]
        return no_qr(session.status_reason or "session_failed", f"{why} Restart the session.")
    if session.status is SessionStatus.STOPPED:
        return no_qr("session_stopped", "The session is stopped: restart it.")
    if session.status in REFUSALS and session.status is not SessionStatus.SCAN_QR:
        return no_qr(f"session_{session.status}", REFUSALS[session.status])
    if session.status in _LINKED and session.phone_number is not None:
        return no_qr("already_linked", "The session is linked to a number already.")
    return no_qr("qr_not_ready", "There is no QR code yet: ask again in a moment.")


def _preferred(accept: str) -> str:
    """The offered type that the header likes best; the first of equals is the first offered.

    Raises:
        Problem: 406.
    """
    quality = {offered: _quality(accept, offered) for offered in _OFFERED}
    best = max(_OFFERED, key=lambda offered: quality[offered])
    if quality[best] <= 0:
        raise Problem("not_acceptable", f"This can be had as {', '.join(_OFFERED)}.")
    return best


def _quality(accept: str, offered: str) -> float:
    """How much is `offered` liked: the most specific range decides. Source: RFC 9110, 12.5.1."""
    ranges = ("*/*", offered.partition("/")[0] + "/*", offered)
    found = (-1, 0.0)
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name in ranges:
            found = max(found, (ranges.index(name), _weight(parameters)))
    return found[1]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
