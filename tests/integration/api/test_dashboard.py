"""What the dashboard's pages say, by the parts that the server draws."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import SecretStr

from tests.deadlines import PATIENCE_SECONDS, eventually
from tests.integration.api.running import RunningApi, running_api
from tests.integration.api.scripted_host import ScriptedHost
from tests.integration.api.sending import SEND, TEXT
from tests.proxy import proxy_to
from wa_api.settings import Settings
from wa_contracts.session_events import SessionDisconnected

KEEP_ALIVE = SessionDisconnected(
    reason="keepalive_timeout", message="WhatsApp does not answer keep-alives."
)
NO_ROUTE = SessionDisconnected(reason="connect_failed", message="dial tcp: no route to host.")
OUTDATED = SessionDisconnected(
    reason="client_outdated",
    message="WhatsApp refuses client version 2.3000.1 (neonize 0.5.2).",
    engine="neonize 0.5.2",
    client_version="2.3000.1",
)
SINCE = re.compile(r'Reconnecting <time datetime="([^"]+)" data-since>[^<]*</time>: ([^<]+)')


@asynccontextmanager
async def bell_of(api: RunningApi) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of the stream that tells a page to look again."""
    async with api.admin.stream("GET", "/dashboard/changes") as answer:
        yield answer.aiter_lines()


async def seen_when_rung(
    api: RunningApi, bell: AsyncIterator[str], *texts: str, within: float = PATIENCE_SECONDS
) -> str:
    """The table, as it is drawn at the ring after which it holds all of these texts."""
    async with asyncio.timeout(within):
        async for line in bell:
            if line == "event: changed":
                drawn = (await api.admin.get("/dashboard/sessions")).text
                if all(text in drawn for text in texts):
                    return drawn
    raise AssertionError("the stream ended")


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
        what="the new reason",
    )
    assert later == first


async def test_a_database_that_goes_away_is_said_at_once_and_without_what_was(
    settings: Settings, api: RunningApi, host: ScriptedHost
) -> None:
    session = await api.new_session(host)
    async with proxy_to(settings.api_database_url.get_secret_value()) as (proxy, url):
        changed = settings.model_copy(update={"api_database_url": SecretStr(url)})
        async with running_api(changed) as behind, bell_of(behind) as bell:
            await seen_when_rung(behind, bell, session["sessionId"], "Database available")
            proxy.accepting = False
            proxy.cut()
            drawn = await seen_when_rung(behind, bell, "Database away", "looks again by itself")
            assert session["sessionId"] not in drawn
            proxy.accepting = True
            await seen_when_rung(behind, bell, session["sessionId"], "Database available")


async def test_the_messages_of_the_last_minute_are_counted(
    api: RunningApi, host: ScriptedHost
) -> None:
    session = await api.new_session(host)
    async with bell_of(api) as bell:
        await seen_when_rung(api, bell, "0 messages in the last minute")
        client = api.client(session["token"])
        assert (await client.post(SEND, json=TEXT)).status_code == 200
        await seen_when_rung(api, bell, "1 message in the last minute")
        assert (await client.post(SEND, json=TEXT)).status_code == 200
        await seen_when_rung(api, bell, "2 messages in the last minute")


async def test_a_refused_client_version_is_one_warning_until_the_sessions_are_back(
    api: RunningApi, host: ScriptedHost
) -> None:
    ids = [(await api.new_session(host))["sessionId"] for _ in range(2)]

    async def drawn(text: str, *, there: bool) -> str:
        async def found() -> str:
            page = (await api.admin.get("/dashboard/sessions")).text
            assert (text in page) is there
            return page

        return await eventually(found, what=text)

    await drawn("neonize 0.5.2, WhatsApp client 2.3000.1047769893", there=True)
    await drawn("client-outdated", there=False)
    for session_id in ids:
        await host.happen(UUID(session_id), OUTDATED)
    page = await drawn("2 sessions wait", there=True)
    assert page.count("<strong>WhatsApp refuses client version 2.3000.1 (neonize 0.5.2).") == 1
    assert "WHATSAPP_CLIENT_VERSION=auto" in page
    for session_id in ids:
        await host.link(UUID(session_id))
    await drawn("client-outdated", there=False)
