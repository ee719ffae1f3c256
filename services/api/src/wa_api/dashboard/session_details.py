"""The details on a session's page: messages, history, charts, webhooks."""

from typing import Any

from fastapi import Request

from wa_api.dashboard.charts import charts_of
from wa_api.dashboard.readings import DashboardReadings
from wa_api.http.paging import place_of
from wa_api.messages.views import MessageFilter, MessageViews
from wa_api.sessions.views import Session
from wa_api.webhooks.deliveries import Deliveries
from wa_api.webhooks.endpoints import Endpoints
from wa_contracts.internal.replies import MessageStatus

MESSAGES_SHOWN = 25
ENDPOINTS_SHOWN = 50
DELIVERIES_SHOWN = 10


class SessionDetails:
    def __init__(
        self,
        *,
        messages: MessageViews,
        readings: DashboardReadings,
        endpoints: Endpoints,
        deliveries: Deliveries,
    ) -> None:
        self._messages = messages
        self._readings = readings
        self._endpoints = endpoints
        self._deliveries = deliveries

    async def values(self, session: Session, request: Request) -> dict[str, Any]:
        """The template's values, for the message filter and page in the URL.

        Raises:
            DatabaseUnavailable: The details cannot be read.
        """
        query, id_ = request.query_params, session.session_id
        wanted, after = _wanted(session, request), place_of(query.get("cursor") or None)
        endpoints = await self._endpoints.page(None, ENDPOINTS_SHOWN, for_session=id_)
        return {
            "messages": await self._messages.messages(wanted, after, MESSAGES_SHOWN),
            "message_filter": wanted,
            "is_first_page": after is None,
            "message_counts": await self._readings.message_counts(id_),
            "span": await self._readings.span(session),
            "history": await self._readings.history(id_),
            "charts": charts_of(await self._readings.last_day(id_)),
            "endpoints": endpoints.items,
            "deliveries": await self._deliveries.latest_of_session(id_, DELIVERIES_SHOWN),
        }


def _wanted(session: Session, request: Request) -> MessageFilter:
    """The message filter in the URL. An invalid value counts as absent."""
    query = request.query_params
    status = query.get("status", "")
    return MessageFilter(
        session_id=session.session_id,
        status=MessageStatus(status) if status in set(MessageStatus) else None,
        to=query.get("to", "").replace("\x00", "").lstrip("+") or None,
    )
