"""Cursors: opaque to clients, a position in a list for the api."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel

from wa_api.http.models import View

Row = TypeVar("Row")
Item = TypeVar("Item", bound=BaseModel)


class BadCursor(ValueError):
    """The cursor was not issued by this program."""


@dataclass(frozen=True)
class Place:
    """A position in a list, newest first: after the item with this time and id."""

    created_at: datetime
    id: UUID

    def cursor(self) -> str:
        plain = f"{self.created_at.isoformat()} {self.id}"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> Place | None:
    """The position of a cursor.

    Raises:
        BadCursor: The cursor is invalid.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text, _, identity = base64.urlsafe_b64decode(padded).decode().partition(" ")
        created_at = datetime.fromisoformat(text)
        if created_at.tzinfo is None:
            raise BadCursor
        return Place(created_at.astimezone(UTC), UUID(identity))
    except (ValueError, OverflowError, binascii.Error) as error:
        raise BadCursor from error


class Page(View, Generic[Item]):
    """Part of a list. `next_cursor` is None on the last page."""

    items: Sequence[Item]
    next_cursor: str | None = None


def page_of(
    rows: Sequence[Row],
    limit: int,
    item_of: Callable[[Row], Item],
    place_of_item: Callable[[Item], Place],
) -> Page[Item]:
    """Build a page from up to `limit + 1` rows."""
    items = [item_of(row) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(items=items, next_cursor=place_of_item(items[-1]).cursor() if more else None)
