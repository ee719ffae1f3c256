"""BASE_PATH and CORS_ALLOWED_ORIGINS: below a proxy's path, and called by pages of other origins."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import ValidationError

from tests.integration.api.running import ADMIN_KEY, RunningApi, running_api
from tests.integration.api.scripted_host import ScriptedHost
from tests.integration.api.sending import SEND, TEXT, assert_problem
from wa_api.settings import Settings

BASE = "/wa"
ORIGIN, STRANGER = "https://app.example.com", "https://evil.example.com"


@pytest.fixture(scope="module")
async def below(settings: Settings, api: RunningApi) -> AsyncIterator[RunningApi]:
    """An api below the path, that one origin may call. Its tables are those of the module's api."""
    changed = {"base_path": BASE, "cors_allowed_origins": frozenset({ORIGIN})}
    async with running_api(settings.model_copy(update=changed)) as below:
        yield below


@pytest.mark.parametrize("prefix", [BASE, ""], ids=["passed on", "cut off"])
async def test_all_addresses_of_an_answer_are_below_the_path(
    below: RunningApi, host: ScriptedHost, prefix: str
) -> None:
    created = await below.admin.post(f"{prefix}/api/sessions", json={"name": "shop"})
    session = created.json()
    assert created.headers["location"] == f"{BASE}/api/sessions/{session['sessionId']}"
    sender = below.client(session["token"], Prefer="respond-async")
    queued = await sender.post(f"{prefix}{SEND}", json=TEXT)
    if queued.status_code == 202:
        assert queued.headers["location"].startswith(f"{BASE}/api/messages/")
    problem = await below.admin.get(f"{prefix}/api/nothing")
    assert problem.json()["docs"] == f"{BASE}/docs/errors#not_found"
    document = (await below.anonymous.get(f"{prefix}/openapi.json")).json()
    assert document["servers"] == [{"url": BASE}]
    async with httpx.AsyncClient(base_url=below.base_url, trust_env=False) as browser:
        signed_in = await browser.post(f"{prefix}/login", data={"key": ADMIN_KEY})
        assert signed_in.headers["location"] == f"{BASE}/"
        assert f"Path={BASE}/" in signed_in.headers["set-cookie"]
        page = (await browser.get(f"{BASE}/")).text
        assert "Active Sessions" in page
        for attribute in ('href="/', 'src="/', 'action="/'):
            assert all(rest.startswith("wa/") for rest in page.split(attribute)[1:]), attribute
        assert f"{below.base_url}{BASE}/api/messages/send" in page
        asset = await browser.get(f"{BASE}/static/main.js")
        assert asset.status_code == 200
    assert (await below.anonymous.get(f"{prefix}/livez")).status_code == 200
    bare = await below.anonymous.get(BASE)
    assert (bare.status_code, bare.headers["location"]) == (308, f"{BASE}/")
    assert (await below.anonymous.get(f"{BASE}{BASE}/livez")).status_code == 404
    assert (await below.anonymous.get(f"{BASE}x/livez")).status_code == 404


async def test_an_error_before_the_application_names_the_path(below: RunningApi) -> None:
    port = int(below.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"no HTTP\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert b'"docs":"/wa/docs/errors#invalid_request"' in answer


@pytest.mark.parametrize("given", ["wa", "/wa/../x", "/wa?x", "//wa", "/wa//x", "https://x/wa"])
def test_a_base_path_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="BASE_PATH is a path such as /wa"):
        Settings(base_path=given)


@pytest.mark.parametrize(
    "given", ["*", "null", "app.example.com", "https://a.example/", "https://*.example.com"]
)
def test_an_origin_that_is_not_exact_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="CORS_ALLOWED_ORIGINS takes exact origins"):
        Settings(cors_allowed_origins=given)


def test_a_path_may_end_with_a_slash_and_origins_are_separated_by_commas() -> None:
    settings = Settings(base_path="/wa/", cors_allowed_origins="https://A.example, http://b:8080")
    assert settings.base_path == BASE
    assert settings.cors_allowed_origins == {"https://a.example", "http://b:8080"}


async def test_a_preflight_is_answered_for_the_origin_alone(below: RunningApi) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
    }
    answer = await below.anonymous.options(f"{BASE}{SEND}", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    refused = await below.anonymous.options(f"{BASE}{SEND}", headers={**asked, "Origin": STRANGER})
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


async def test_answers_and_errors_allow_the_origin_and_never_credentials(
    below: RunningApi,
) -> None:
    async def ask(path: str, origin: str | None, **more: str) -> httpx.Response:
        headers = more if origin is None else {"Origin": origin, **more}
        return await below.admin.get(f"{BASE}{path}", headers=headers)

    for path, status in (("/api/sessions", 200), ("/api/nothing", 404), ("/openapi.json", 200)):
        answer = await ask(path, ORIGIN)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]
        for other in (STRANGER, None):
            answer = await ask(path, other)
            assert "access-control-allow-origin" not in answer.headers
            assert "Origin" in answer.headers["vary"]
    unauthorized = await below.client("wams_x").get(
        f"{BASE}/api/session", headers={"Origin": ORIGIN}
    )
    assert_problem(unauthorized, 401, "unauthorized")
    assert unauthorized.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in unauthorized.headers
    page = await ask("/", ORIGIN)
    assert "access-control-allow-origin" not in page.headers


async def test_without_the_setting_no_origin_is_allowed(api: RunningApi) -> None:
    answer = await api.admin.get("/api/sessions", headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    assert (await api.anonymous.options("/api/sessions", headers=preflight)).status_code == 405
