"""Dependency injection by type: `lifecycle: Part[SessionLifecycle]` in a route's signature.

The composition root (`processes/serve.py`) builds each part once. Routes name the parts they use.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request

Kind = TypeVar("Kind")


class Parts:
    """The parts of a serving process, one of each type."""

    def __init__(self, *parts: object) -> None:
        self._by_type: dict[type, object] = {}
        for part in parts:
            self.add(part)

    def add(self, part: Kind) -> Kind:
        """Add a part, and return it.

        Raises:
            ValueError: there is a part of this type.
        """
        if type(part) in self._by_type:
            raise ValueError(f"two parts of the type {type(part).__name__}")
        self._by_type[type(part)] = part
        return part

    def __getitem__(self, kind: type[Kind]) -> Kind:
        """The part of exactly this type."""
        part = self._by_type[kind]
        assert isinstance(part, kind)
        return part

    def provide(self, app: FastAPI) -> None:
        """Make the parts available to the routes of `app`."""
        app.state.parts = self


def parts_of(request: Request) -> Parts:
    """The parts, for a route that FastAPI does not inject."""
    parts: Parts = request.app.state.parts
    return parts


def _provider(kind: type[Any]) -> Callable[[Request], Awaitable[Any]]:
    async def provide(request: Request) -> Any:  # a sync one would run in a thread
        return parts_of(request)[kind]

    return provide


if TYPE_CHECKING:
    Part = Annotated[Kind, "injected"]
else:

    class Part:
        """`Part[SessionLifecycle]` in a route's signature is that part."""

        def __class_getitem__(cls, kind: type[Any]) -> Any:
            return Annotated[kind, Depends(_provider(kind))]
