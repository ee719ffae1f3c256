"""The options of a session in requests, as changes of them."""

import json
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from wa_api.http.models import Body, Text
from wa_contracts.internal.session_changes import ReceiveChanges, SessionChanges
from wa_contracts.session_options import PacingLimits, Presence

METADATA_BYTES = 2048
PROXY_SCHEMES = ("http", "https", "socks5")


def _small(metadata: dict[str, str]) -> dict[str, str]:
    if len(json.dumps(metadata, ensure_ascii=False).encode()) > METADATA_BYTES:
        raise ValueError(f"must be at most {METADATA_BYTES} bytes of JSON")
    return metadata


def _proxy(value: str) -> str:
    problem = (
        "must be the address of a proxy, for example socks5://user:password@proxy.example.com:1080; "
        f"schemes: {', '.join(PROXY_SCHEMES)}"
    )
    try:
        parts = urlsplit(value)
        is_complete = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ValueError(problem) from None
    if parts.scheme not in PROXY_SCHEMES or not is_complete or parts.path not in {"", "/"}:
        raise ValueError(problem)
    return value


class SessionOptions(Body):
    """Options of a session. An option that is not named stays as it is.

    Null takes away a name, proxy, device name, or the session's own pacing.
    """

    name: Annotated[Text | None, Field(max_length=128, examples=["Sales"])] = None
    metadata: Annotated[
        dict[Text, Text],
        AfterValidator(_small),
        Field(description="Strings, at most 2 KiB. Replaces all former metadata."),
    ] = Field(default_factory=dict)
    receive: ReceiveChanges = ReceiveChanges()
    proxy: Annotated[
        Annotated[Text, Field(max_length=1024, pattern=r"^\S+$"), AfterValidator(_proxy)] | None,
        Field(
            description="For WhatsApp and its media, from the next start on. Shown without user "
            "and password.",
            examples=["socks5://user:password@proxy.example.com:1080"],
        ),
    ] = None
    device_name: Annotated[
        Text | None,
        Field(
            min_length=1, max_length=50, description="What the phone lists, from the next link on."
        ),
    ] = None
    presence: Annotated[
        Presence,
        Field(description="`available` keeps the number's phone from notifying."),
    ] = Presence.UNAVAILABLE
    pacing: PacingLimits | None = None
    keep_media: Annotated[
        bool,
        Field(
            description="Media of incoming messages is stored when it arrives, for `MEDIA_DAYS`: it "
            "can be had while the session is stopped, and after WhatsApp has dropped it."
        ),
    ] = False

    def changes(self, *, but_name: bool = False) -> SessionChanges:
        """The options that the request names, without the name if it goes another way."""
        named = self.model_fields_set - ({"name"} if but_name else set())
        given: dict[str, Any] = {name: getattr(self, name) for name in named}
        cleared = tuple(sorted(name for name, value in given.items() if value is None))
        return SessionChanges(**given, cleared=cleared)
