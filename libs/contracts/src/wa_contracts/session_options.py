"""What an operator chooses for a session."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from wa_contracts.wire import Wire, storable


class Presence(StrEnum):
    """What WhatsApp shows of a session. An available one keeps the number's phone from notifying."""

    UNAVAILABLE = "unavailable"
    AVAILABLE = "available"


class Receive(Wire):
    """Kinds of incoming messages that become events. What is left out is counted in metrics."""

    groups: bool = True
    stories: bool = False
    channels: bool = False
    calls: bool = True
    echoes: bool = True
    """What the owner wrote on the phone or on another device."""


class PacingLimits(Wire):
    """Limits of a session's sends, in place of the installation's; None is no limit. Days are UTC."""

    per_minute: Annotated[float, Field(gt=0, le=10_000)] | None = None
    per_day: Annotated[int, Field(ge=1), AfterValidator(storable)] | None = None
