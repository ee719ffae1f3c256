"""A change of a session's options: private, because of the proxy's password."""

from typing import Literal

from wa_contracts.session_options import PacingLimits, Presence
from wa_contracts.wire import Wire

Clearable = Literal["name", "proxy", "device_name", "pacing"]


class ReceiveChanges(Wire):
    """Kinds of incoming messages that are to become events or not; None leaves a kind as it is."""

    groups: bool | None = None
    stories: bool | None = None
    channels: bool | None = None
    calls: bool | None = None
    echoes: bool | None = None


class SessionChanges(Wire):
    """New values; None leaves an option as it is, `cleared` takes it away.

    `metadata` replaces all former metadata.
    """

    name: str | None = None
    metadata: dict[str, str] | None = None
    receive: ReceiveChanges | None = None
    proxy: str | None = None
    """A URL, with user and password if the proxy wants them."""
    device_name: str | None = None
    presence: Presence | None = None
    pacing: PacingLimits | None = None
    keep_media: bool | None = None
    cleared: tuple[Clearable, ...] = ()
