"""What a running api consists of, as its routes reach it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from wa_api.access.concurrency import Concurrency
from wa_api.access.credentials import Credentials
from wa_api.access.rate_limit import RateLimit
from wa_api.access.sign_in import SignIn
from wa_api.dashboard.readings import DashboardViews
from wa_api.database.notifications import Live
from wa_api.database.pool import Database
from wa_api.dead_letters.letters import DeadLetters
from wa_api.events.feed import Feed
from wa_api.events.tail import FeedTail
from wa_api.messages.media_address import MediaAddressRule
from wa_api.messages.media_downloads import MediaDownloads
from wa_api.messages.requests import MessageRequests
from wa_api.messages.sending import Sending
from wa_api.owners.liveness import HostLiveness
from wa_api.owners.pending_replies import Outcomes
from wa_api.sessions.lifecycle import SessionLifecycle
from wa_api.sessions.views import Views
from wa_api.settings import Settings
from wa_api.webhooks.deliveries import Deliveries
from wa_api.webhooks.endpoints import Endpoints
from wa_runtime.broker import BrokerLink


@dataclass(frozen=True)
class Gateway:
    """All parts, built by main.py."""

    settings: Settings
    database: Database
    publish_link: BrokerLink
    inbox_link: BrokerLink
    outcomes: Outcomes
    liveness: HostLiveness
    credentials: Credentials
    sign_in: SignIn
    sending: Sending
    send_rate: RateLimit
    send_waits: Concurrency
    event_streams: Concurrency
    media_rule: MediaAddressRule
    message_requests: MessageRequests
    media_link: BrokerLink
    media_downloads: MediaDownloads
    lifecycle: SessionLifecycle
    views: Views
    dashboard_views: DashboardViews
    feed: Feed
    feed_tail: FeedTail
    dead_letters: DeadLetters
    webhooks: Endpoints
    webhook_deliveries: Deliveries
    live: Live


async def gateway_of(request: Request) -> Gateway:
    """The gateway that serves this request.

    Async like all dependencies here: FastAPI runs others in a thread, at each request.
    """
    gateway = request.app.state.gateway
    assert isinstance(gateway, Gateway)
    return gateway


TheGateway = Annotated[Gateway, Depends(gateway_of)]
