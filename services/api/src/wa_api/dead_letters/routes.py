"""Routes for dead letters."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from wa_api.access.callers import Admin
from wa_api.dead_letters.letters import DeadLetter, DeadLetters, QueueGone
from wa_api.http.documented import Cursor, errors
from wa_api.http.paging import Page, place_of
from wa_api.http.parts import Part
from wa_api.http.problems import Problem, not_found

router = APIRouter(prefix="/api/dead-letters", tags=["dead letters"])


@router.get(
    "",
    summary="List dead letters, newest first",
    responses=errors(400, 401, 503),
    dependencies=[Admin],
)
async def list_dead_letters(
    dead_letters: Part[DeadLetters],
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[DeadLetter]:
    """Commands and events that could not be handled, with the broker's reason.

    The newest 10,000 (at most 256 MiB) are kept, for `RETENTION_DAYS`.
    """
    return await dead_letters.page(place_of(cursor), limit)


@router.delete(
    "/{letter_id}",
    summary="Delete a dead letter",
    status_code=204,
    responses=errors(400, 401, 403, 404, 503),
    dependencies=[Admin],
)
async def delete_dead_letter(letter_id: UUID, dead_letters: Part[DeadLetters]) -> Response:
    """The message is discarded. A dead send has ended as failed already."""
    if not await dead_letters.delete(letter_id):
        raise not_found("dead_letter")
    return Response(status_code=204)


@router.post(
    "/{letter_id}/retry",
    summary="Put a dead letter back into its queue",
    status_code=202,
    responses=errors(400, 401, 403, 404, 409, 500, 503),
    dependencies=[Admin],
)
async def retry_dead_letter(letter_id: UUID, dead_letters: Part[DeadLetters]) -> Response:
    """The message is handled again. If that fails, it returns as a new dead letter.

    An event that was passed over is appended to the event feed, after newer events of its session.
    """
    try:
        found = await dead_letters.put_back(letter_id)
    except QueueGone as error:
        raise Problem(
            "queue_gone",
            f"The queue '{error.queue}' does not exist, so nothing was put back. Run "
            "`python -m wa_api set-up-broker` if it is one of the gateway's; otherwise its "
            "consumer declares it. Then try again.",
        ) from error
    if not found:
        raise not_found("dead_letter")
    return Response(status_code=202)
