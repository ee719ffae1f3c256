"""An operator's options of a session, and what a change of them records."""

from typing import Any, ClassVar
from urllib.parse import urlsplit

from wa_contracts.internal.session_changes import SessionChanges
from wa_contracts.session_events import Event, SessionUpdated


class SessionProxySet(Event):
    """Internal, never published: the proxy with its user and password."""

    TYPE: ClassVar[str] = "session.proxy_set"
    proxy: str | None


def change(
    options: SessionUpdated, proxy: str | None, changes: SessionChanges
) -> tuple[Event, ...]:
    """The events of a change; () if all is as it was."""
    new: dict[str, Any] = {
        name: value
        for name in ("name", "metadata", "device_name", "presence", "pacing", "keep_media")
        if (value := getattr(changes, name)) is not None
    }
    new |= dict.fromkeys(changes.cleared)
    if changes.receive is not None:
        named = changes.receive.model_dump(exclude_none=True, by_alias=False)
        new["receive"] = options.receive.model_copy(update=named)
    wanted = changes.proxy or (None if "proxy" in changes.cleared else proxy)
    new["proxy"] = None if wanted is None else _shown(wanted)
    updated = options.model_copy(update=new)
    if wanted != proxy:
        return (updated, SessionProxySet(proxy=wanted))
    return () if updated == options else (updated,)


def _shown(proxy: str) -> str:
    """The proxy's address without user and password."""
    parts = urlsplit(proxy)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
