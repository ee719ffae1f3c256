"""Ports and settings that the sessions of a host share."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from wa_session_host.domain.message import Content
from wa_session_host.domain.pacing import PaceRule
from wa_session_host.engine.port import Engines
from wa_session_host.media.fetching import MediaFetcher
from wa_session_host.metrics import HostMetrics
from wa_session_host.sessions.tracked_message import BoundedCache, TrackedMessage
from wa_session_host.store.event_store import EventStore
from wa_session_host.store.group_commit import GroupCommitWriter
from wa_session_host.store.incoming_media import IncomingMedia


@dataclass(frozen=True)
class SessionContext:
    """Ports and settings of every session of a host."""

    writer: GroupCommitWriter
    store: EventStore
    engines: Engines
    media: MediaFetcher
    incoming_media: IncomingMedia
    """Media that sessions keep."""
    clock: Callable[[], datetime]
    metrics: HostMetrics
    sent_messages: BoundedCache[TrackedMessage]
    contents: BoundedCache[Content]
    """Of queued messages; weighed in bytes."""
    pace: PaceRule
    login_seconds: float
    """A login that takes longer is tried anew."""
    retention: timedelta
    """Age at which an ended message may be deleted."""
