"""The events' contract, served."""

from tests.api.running import RunningApi
from wa_contracts.asyncapi import asyncapi_document


async def test_the_asyncapi_document_is_served_to_everyone(api: RunningApi) -> None:
    answer = await api.client(None).get("/asyncapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == asyncapi_document()
