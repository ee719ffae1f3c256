"""The broker or the database is away, blocked, or lost in the middle."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from deploy.servers import databases
from tests.deadlines import eventually
from tests.infrastructure import OwnPostgres, OwnRabbitMQ
from tests.integration.api.running import RunningApi, running_api, running_projector, settings_for
from tests.integration.api.scripted_host import ScriptedHost, scripted_host
from tests.integration.api.sending import SEND, TEXT, assert_problem
from tests.proxy import proxy_to
from wa_api.settings import Settings
from wa_contracts.internal.commands import SendMessage
from wa_runtime.migrations import migrate


async def _answers(client: httpx.AsyncClient, status: int) -> httpx.Response:
    """The first answer to a send that has this status."""

    async def answered() -> httpx.Response:
        answer = await client.post(SEND, json=TEXT)
        assert answer.status_code == status, answer.text
        return answer

    found: httpx.Response = await eventually(answered, what=f"a send gets {status}")
    return found


@pytest.fixture(scope="module")
async def session(api: RunningApi, host_process: ScriptedHost) -> dict[str, Any]:
    """A working session."""
    return await api.new_session(host_process)


async def test_broker_away_at_start_and_later(
    settings: Settings, host: ScriptedHost, session: dict[str, Any]
) -> None:
    async with proxy_to(settings.amqp_url.get_secret_value()) as (proxy, url):
        proxy.accepting = False
        changed = settings.model_copy(update={"amqp_url": SecretStr(url)})
        async with running_api(changed) as api:
            client = api.client(session["token"])
            refused = await client.post(SEND, json=TEXT)
            assert_problem(refused, 503, "broker_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
            assert_problem(await api.admin.post("/api/sessions"), 503, "broker_unavailable")
            assert (await api.anonymous.get("/livez")).status_code == 200
            assert (await api.anonymous.get("/readyz")).json()["broker"] == "unavailable"
            proxy.accepting = True
            await _answers(client, 200)
            proxy.accepting = False
            proxy.cut()
            await _answers(client, 503)
            proxy.accepting = True
            await _answers(client, 200)


async def test_nothing_is_kept_of_a_session_that_could_not_be_asked_for(
    settings: Settings, api: RunningApi
) -> None:
    before = (await api.admin.get("/api/sessions")).json()
    async with proxy_to(settings.amqp_url.get_secret_value()) as (proxy, url):
        proxy.accepting = False
        changed = settings.model_copy(update={"amqp_url": SecretStr(url)})
        async with running_api(changed) as away:
            assert (await away.admin.post("/api/sessions")).status_code == 503
    assert (await api.admin.get("/api/sessions")).json() == before


async def test_lost_confirm_is_published_again_with_the_same_id(
    settings: Settings, host: ScriptedHost, session: dict[str, Any]
) -> None:
    async with proxy_to(settings.amqp_url.get_secret_value()) as (proxy, url):
        changed = settings.model_copy(update={"amqp_url": SecretStr(url)})
        async with running_api(changed) as api:
            client = api.client(session["token"])
            proxy.mute = True
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(client.post(SEND, json=TEXT))
                await eventually(lambda: host.commands(SendMessage), what="the command arrives")
                proxy.mute = False
                proxy.cut()
    assert sending.result().status_code == 200
    first, again = host.commands(SendMessage)
    assert first == again
    assert str(first.message_id) == sending.result().json()["id"]


async def test_confirm_that_never_comes(
    settings: Settings, host: ScriptedHost, session: dict[str, Any]
) -> None:
    async with proxy_to(settings.amqp_url.get_secret_value()) as (proxy, url):
        changed = settings.model_copy(update={"amqp_url": SecretStr(url), "send_wait_seconds": 1.0})
        async with running_api(changed) as api:
            proxy.mute = True
            answer = await api.client(session["token"]).post(SEND, json=TEXT)
            problem = assert_problem(answer, 500, "outcome_unknown")
            proxy.mute = False
            looked_up = await api.admin.get(f"/api/messages/{problem['id']}")
            assert looked_up.json()["status"] == "sent"


async def test_reply_lost_with_the_connection(
    settings: Settings, host: ScriptedHost, session: dict[str, Any]
) -> None:
    async with proxy_to(settings.amqp_url.get_secret_value()) as (proxy, url):
        changed = settings.model_copy(update={"amqp_url": SecretStr(url)})

        async def answer_into_the_void(command: SendMessage) -> None:
            await asyncio.sleep(0.2)  # the confirm is out
            proxy.cut()
            await host.send(command.model_copy(update={"reply_to": None}))

        host.answers[SendMessage] = answer_into_the_void
        async with running_api(changed) as api:
            answer = await api.client(session["token"]).post(SEND, json=TEXT)
        assert answer.status_code == 200


async def test_blocked_broker(
    settings: Settings, database: databases.Databases, own_rabbitmq: OwnRabbitMQ
) -> None:
    server = await own_rabbitmq()
    changed = settings.model_copy(
        update={"amqp_url": SecretStr(server.url), "send_wait_seconds": 1.5}
    )
    async with (
        scripted_host(server.url) as host,
        running_projector(changed),
        running_api(changed) as api,
    ):
        session = await api.new_session(host)
        client = api.client(session["token"])
        await server.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.0000001).")
        refused = await _answers(client, 503)
        assert_problem(refused, 503, "broker_unavailable")
        await server.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.9).")
        await _answers(client, 200)


async def test_database_away_at_start_and_later(
    broker: str, own_postgres: OwnPostgres, tmp_path: Path, host: ScriptedHost
) -> None:
    server = await own_postgres()
    urls = await databases.provide(server.url)
    await migrate(urls.api, "wa_api")
    await server.stop()
    settings = settings_for(urls.api, broker, tmp_path)
    async with running_api(settings) as api:
        listed = await api.admin.get("/api/sessions")
        assert_problem(listed, 503, "database_unavailable")
        assert int(listed.headers["retry-after"]) >= 1
        refused = await api.client("wams_x").post(SEND, json=TEXT)
        assert_problem(refused, 503, "database_unavailable")
        assert (await api.anonymous.get("/readyz")).json()["database"] == "unavailable"
        await server.start()
        assert (await api.admin.get("/api/sessions")).status_code == 200
        await server.kill()
        await server.start()

        async def listed_again() -> bool:
            return (await api.admin.get("/api/sessions")).status_code == 200

        await eventually(listed_again, what="sessions are listed again")


async def test_migrate_waits_and_repeats(own_postgres: OwnPostgres) -> None:
    server = await own_postgres()
    urls = await databases.provide(server.url)
    await server.stop()
    async with asyncio.TaskGroup() as group:
        migrating = [group.create_task(migrate(urls.api, "wa_api")) for _ in range(2)]
        await server.start()
    first, second = sorted(len(task.result()) for task in migrating)
    assert (first, second > 0) == (0, True), "one of the two applies all, the other none"
    assert await migrate(urls.api, "wa_api") == ()
    await server.stop()
    with pytest.raises(TimeoutError):
        await migrate(urls.api, "wa_api", wait_seconds=0.5)
