"""The events' contract, served as a document and as a page."""

import re

from tests.integration.api.running import RunningApi
from wa_contracts.asyncapi import asyncapi_document


async def test_the_asyncapi_document_is_served_to_everyone(api: RunningApi) -> None:
    answer = await api.client(None).get("/asyncapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == asyncapi_document()


async def test_the_page_of_events_shows_all_of_it_and_loads_nothing_from_elsewhere(
    api: RunningApi,
) -> None:
    answer = await api.client(None).get("/docs/events")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for message in asyncapi_document()["components"]["messages"].values():
        assert f"<h3>{message['name']}</h3>" in answer.text
        for name in message["examples"][0]["payload"]["data"]:
            assert f"<code>{name}</code>" in answer.text
    assert "<style" not in answer.text
    assert not re.findall(r"(?:src|href)=\"(?!/|#)", answer.text)


async def test_the_dashboards_documentation_leads_to_the_page(api: RunningApi) -> None:
    assert 'href="/docs/events"' in (await api.client(None).get("/")).text
