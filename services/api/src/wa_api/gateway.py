"""What a running api consists of, as its routes reach it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from wa_api.concurrency import Concurrency
from wa_api.credentials import Credentials
from wa_api.dashboard_views import DashboardViews
from wa_api.database import Database
from wa_api.dead_letters import DeadLetters
from wa_api.feed import Feed
from wa_api.feed_tail import FeedTail
from wa_api.host_liveness import HostLiveness
from wa_api.live import Live
from wa_api.media_address import MediaAddressRule
from wa_api.media_downloads import MediaDownloads
from wa_api.message_requests import MessageRequests
from wa_api.outcomes import Outcomes
from wa_api.rate_limit import RateLimit
from wa_api.sending import Sending
from wa_api.session_lifecycle import SessionLifecycle
from wa_api.settings import Settings
from wa_api.sign_in import SignIn
from wa_api.views import Views
from wa_api.webhooks.deliveries import Deliveries
from wa_api.webhooks.endpoints import Endpoints
from wa_contracts.runtime.broker import BrokerLink


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
