"""Cursors: opaque to clients, a place in a list to us."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

Item = TypeVar("Item", bound=BaseModel)


class BadCursor(ValueError):
    """The cursor is none that this program gave."""


@dataclass(frozen=True)
class Place:
    """After the item of this time and id, newest first."""

    created_at: datetime
    id: UUID

    def cursor(self) -> str:
        """The opaque text that clients hand back."""
        plain = f"{self.created_at.isoformat()} {self.id}"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> Place | None:
    """The place that a cursor stands for.

    Raises:
        BadCursor: it stands for none.
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


class Page(BaseModel, Generic[Item]):
    """Part of a list. `next_cursor` is None on the last page."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True
    )

    items: Sequence[Item]
    next_cursor: str | None = None
