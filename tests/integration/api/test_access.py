"""Who may ask for what: the admin key, the browser's sign-in, a session's token."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from httpx import Response
from pydantic import ValidationError

from tests.deadlines import eventually
from tests.integration.api.running import ADMIN_KEY, RunningApi, running_api
from tests.integration.api.scripted_host import ScriptedHost
from tests.integration.api.sending import SEND, TEXT, assert_problem
from wa_api.access.sign_in import COOKIE
from wa_api.settings import Settings

ADMIN_ONLY = [
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions"),
    ("GET", "/api/sessions/{id}"),
    ("DELETE", "/api/sessions/{id}"),
    ("GET", "/api/sessions/{id}/qr"),
    ("GET", "/api/sessions/{id}/token"),
    ("POST", "/api/sessions/{id}/token"),
    ("POST", "/api/sessions/{id}/stop"),
    ("POST", "/api/sessions/{id}/pairing-code"),
]


@pytest.mark.parametrize(("method", "path"), ADMIN_ONLY)
async def test_only_the_operator(
    api: RunningApi, host: ScriptedHost, method: str, path: str
) -> None:
    session = await api.new_session(host, linked=False)
    url = path.format(id=session["sessionId"])
    for client in (api.anonymous, api.client(session["token"]), api.client("wrong")):
        answer = await client.request(method, url)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_sees_its_own_only(api: RunningApi, host: ScriptedHost) -> None:
    mine, other = await api.new_session(host), await api.new_session(host)
    client = api.client(mine["token"])
    sent = (await api.client(other["token"]).post(SEND, json=TEXT)).json()
    await api.admin.get(f"/api/messages/{sent['id']}")
    assert_problem(await client.get(f"/api/messages/{sent['id']}"), 404, "message_not_found")
    own = (await client.post(SEND, json=TEXT)).json()
    await client.get(f"/api/messages/{own['id']}")
    listed = (await client.get("/api/messages")).json()["items"]
    assert [item["id"] for item in listed] == [own["id"]]
    elsewhere = await client.get("/api/messages", params={"sessionId": other["sessionId"]})
    assert elsewhere.json() == {"items": [], "nextCursor": None}

    async def filtered() -> list[str]:
        """The look-up above is answered as soon as the message is there: perhaps queued as yet."""
        found = await api.admin.get(
            "/api/messages",
            params={"sessionId": mine["sessionId"], "to": TEXT["to"], "status": "sent"},
        )
        return [item["id"] for item in found.json()["items"]]

    assert await eventually(filtered, what="it is shown as sent") == [own["id"]]


async def sign_in(api: RunningApi, key: str = "no") -> Response:
    return await api.anonymous.post("/login", json={"key": key})


async def managing(api: RunningApi) -> Response:
    return await api.client("no").post("/api/sessions")


async def reading(api: RunningApi) -> Response:
    return await api.client("no").get("/api/messages")


async def following_the_link(api: RunningApi) -> Response:
    return await api.anonymous.get("/login", params={"key": "no"})


GUESSES = (sign_in, managing, reading, following_the_link)


async def test_browser_signs_in_and_out(api: RunningApi, host: ScriptedHost) -> None:
    async with httpx.AsyncClient(base_url=api.base_url, trust_env=False) as browser:
        wrong = await browser.post("/login", data={"key": "wrong"})
        assert (wrong.status_code, wrong.headers["location"]) == (303, "/?sign-in=refused")
        right = await browser.post("/login", data={"key": ADMIN_KEY})
        assert (right.status_code, right.headers["location"]) == (303, "/")
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
        assert (await browser.get("/api/sessions")).status_code == 200
        assert_problem(await browser.post("/api/sessions"), 403, "csrf_failed")
        forged = await browser.post("/api/sessions", headers={"X-CSRF-Token": "x"})
        assert_problem(forged, 403, "csrf_failed")
        assert_problem(await browser.post("/logout"), 403, "csrf_failed")


@pytest.mark.parametrize(
    ("trusted", "behind_tls", "others_may_try"),
    [("127.0.0.1", True, True), ("192.0.2.0/24", False, False)],
)
async def test_only_a_trusted_proxy_says_that_tls_is_spoken_and_who_the_client_is(
    settings: Settings, trusted: str, behind_tls: bool, others_may_try: bool
) -> None:
    changed = settings.model_copy(update={"trusted_proxies": trusted})
    async with running_api(changed) as fresh:
        forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}
        right = await fresh.anonymous.post("/login", data={"key": ADMIN_KEY}, headers=forwarded)
        assert ("Secure" in right.headers["set-cookie"]) == behind_tls
        page = await fresh.anonymous.get("/", headers=forwarded)
        scheme = "https" if behind_tls else "http"
        assert fresh.base_url.replace("http", scheme, 1) in page.text
        for _ in range(10):
            await fresh.anonymous.post("/login", json={"key": "no"}, headers=forwarded)
        other = {**forwarded, "X-Forwarded-For": "198.51.100.8"}
        answer = await fresh.anonymous.post("/login", json={"key": "no"}, headers=other)
        assert answer.status_code == (401 if others_may_try else 429)


async def test_a_forged_client_address_does_not_evade_the_throttle(settings: Settings) -> None:
    """A proxy appends what it saw: what stands before that is the client's own word."""
    changed = settings.model_copy(update={"trusted_proxies": "127.0.0.0/8"})
    async with running_api(changed) as fresh:
        answers = [
            await fresh.anonymous.post(
                "/login",
                json={"key": "no"},
                headers={"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.9"},
            )
            for number in range(11)
        ]
        assert {answer.status_code for answer in answers[:10]} == {401}
        assert_problem(answers[10], 429, "too_many_attempts")


@pytest.mark.parametrize("given", ["*", "127.0.0.1, *", "ingress"])
def test_trusted_proxies_must_be_named(given: str) -> None:
    with pytest.raises(ValidationError, match="TRUSTED_PROXIES takes addresses and networks"):
        Settings(trusted_proxies=given)


async def test_login_link_and_tampered_cookie(api: RunningApi) -> None:
    async with httpx.AsyncClient(base_url=api.base_url, trust_env=False) as browser:
        answer = await browser.get("/login", params={"key": ADMIN_KEY})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert answer.headers["referrer-policy"] == "no-referrer"
        good = browser.cookies[COOKIE]
        expires, nonce, signature = good.split(".")
        for bad in (f"{int(expires) + 1}.{nonce}.{signature}", good[:-1], "", "a.b.c"):
            answer = await api.anonymous.get("/api/sessions", headers={"Cookie": f"{COOKIE}={bad}"})
            assert_problem(answer, 401, "unauthorized")


@pytest.mark.parametrize("guess", GUESSES, ids=lambda guess: guess.__name__)
async def test_wrong_admin_keys_are_counted_everywhere_and_the_right_one_is_never_refused(
    settings: Settings, host: ScriptedHost, guess: Callable[[RunningApi], Awaitable[Response]]
) -> None:
    async with running_api(settings) as fresh:
        first = [await guess(fresh) for _ in range(10)]
        assert 429 not in {answer.status_code for answer in first}
        for answer in (await guess(fresh), await sign_in(fresh), await reading(fresh)):
            assert_problem(answer, 429, "too_many_attempts")
            assert int(answer.headers["retry-after"]) >= 1
        form = await fresh.anonymous.post("/login", data={"key": "no"})
        assert (form.status_code, form.headers["location"]) == (303, "/?sign-in=wait")
        assert (await fresh.admin.get("/api/sessions")).status_code == 200
        link = await fresh.anonymous.get("/login", params={"key": ADMIN_KEY})
        assert (link.status_code, link.headers["location"]) == (303, "/")
        assert (await sign_in(fresh, ADMIN_KEY)).status_code == 200


async def test_a_revoked_session_token_is_no_guess_of_the_admin_key(
    settings: Settings, host: ScriptedHost
) -> None:
    async with running_api(settings) as fresh:
        revoked = fresh.client("wams_" + "x" * 43)
        for _ in range(20):
            assert_problem(await revoked.get("/api/messages"), 401, "unauthorized")
