"""What the dashboard's pages say, by the parts that the server draws."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.api.running import RunningApi
from tests.api.scripted_host import ScriptedHost
from tests.deadlines import eventually
from wa_contracts.session_events import SessionDisconnected

KEEP_ALIVE = SessionDisconnected(
    reason="keepalive_timeout", message="WhatsApp does not answer keep-alives."
)
NO_ROUTE = SessionDisconnected(reason="connect_failed", message="dial tcp: no route to host.")
SINCE = re.compile(r'Reconnecting <time datetime="([^"]+)" data-since>[^<]*</time>: ([^<]+)')


async def test_the_reason_of_a_lost_connection_with_the_time_since_its_first_failure(
    api: RunningApi, host: ScriptedHost
) -> None:
    session = await api.new_session(host)
    began = datetime.now(UTC)
    await host.happen(UUID(session["sessionId"]), KEEP_ALIVE)
    await api.reaches(session["sessionId"], "disconnected")
    failed = datetime.now(UTC)

    async def said(what: str) -> datetime:
        """Since when, once both the table and the session's page give this reason."""
        addresses = ("/dashboard/sessions", f"/dashboard/sessions/{session['sessionId']}")
        for address in addresses:
            found = SINCE.search((await api.admin.get(address)).text)
            assert found is not None
            assert found[2].startswith(what), found[2]
        assert found is not None
        return datetime.fromisoformat(found[1])

    first = await said("keep-alive time-out")
    assert began - timedelta(seconds=1) <= first <= failed
    await host.happen(UUID(session["sessionId"]), NO_ROUTE)
    later = await eventually(
        lambda: said("WhatsApp cannot be reached. dial tcp: no route to host."),
        within=10,
        what="the new reason",
    )
    assert later == first
