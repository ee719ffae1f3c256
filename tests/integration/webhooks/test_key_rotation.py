"""A new TOKEN_ENCRYPTION_KEY takes the former one's place while everything serves."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.exceptions import InvalidTag
from pydantic import SecretStr
from standardwebhooks import Webhook

from deploy.local.services import python_module
from deploy.servers.children import Child, Orders
from tests.deadlines import eventually
from tests.integration.api.running import KEYS, running_api
from tests.integration.webhooks.installation import OPERATOR, WebhookInstallation, running_deliverer
from wa_api.access import key_rotation
from wa_api.access.credentials import Credentials
from wa_api.access.key_rotation import CannotRotate, KeyRotation, Rotated
from wa_api.access.keys import derive
from wa_api.access.secret_box import TOKENS, WEBHOOKS, SecretBox
from wa_api.database.pool import Database
from wa_api.processes.rotate_key import run_key_rotation
from wa_api.settings import Settings
from wa_api.webhooks.endpoints import EndpointChange
from wa_contracts.ids import SessionId
from wa_contracts.session_events import SessionCreated

FORMER = SecretStr("the-key-before")
NEW = KEYS.encryption
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


def box(purpose: str, *keys: SecretStr) -> SecretBox:
    """Reads and seals with the first, reads with the second, too."""
    return SecretBox(*(derive(key, purpose) for key in keys))


def both(installation: WebhookInstallation) -> Settings:
    """Settings of a process that is told the former key, too."""
    return installation.settings.model_copy(update={"former_token_encryption_key": FORMER})


async def issue(
    installation: WebhookInstallation, count: int, key: SecretStr = FORMER
) -> dict[SessionId, str]:
    """Sessions with tokens under that key."""
    made: dict[SessionId, str] = {}
    for _ in range(count):
        session_id = SessionId(uuid4())
        async with installation.database.transaction() as connection:
            token = await Credentials(installation.database, box(TOKENS, key)).issue(
                connection, session_id
            )
        await installation.happen(session_id, SessionCreated(name=None))
        made[session_id] = token.get_secret_value()
    return made


async def reseal_with_former(
    installation: WebhookInstallation, endpoint_ids: Sequence[UUID]
) -> None:
    """As if their endpoints had been made before the key was changed."""
    secrets = box(WEBHOOKS, FORMER, NEW)
    async with installation.database.connection() as connection:
        for endpoint_id in endpoint_ids:
            for column in ("secret_cipher", "former_secret_cipher", "headers_cipher"):
                sealed = await connection.fetchval(
                    f"SELECT {column} FROM webhook_endpoints WHERE id = $1", endpoint_id
                )
                anew = secrets.seal_anew(endpoint_id, sealed) if sealed else None
                if anew:
                    await connection.execute(
                        f"UPDATE webhook_endpoints SET {column} = $2 WHERE id = $1",
                        *(endpoint_id, anew),
                    )


async def shown(database: Database, key: SecretStr, session_id: SessionId) -> str:
    """The token as a process with that key alone shows it."""
    token = await Credentials(database, box(TOKENS, key)).show(session_id)
    assert token is not None
    return token.get_secret_value()


def test_a_box_seals_with_the_present_key_and_reads_what_either_sealed() -> None:
    owner, other = uuid4(), uuid4()
    old, new, between = SecretBox(b"o" * 32), SecretBox(b"n" * 32), SecretBox(b"n" * 32, b"o" * 32)
    assert between.open(owner, old.seal(owner, "x")) == "x"
    assert new.open(owner, between.seal(owner, "y")) == "y"
    assert between.seal_anew(owner, new.seal(owner, "z")) is None
    sealed = between.seal_anew(owner, old.seal(owner, "z"))
    assert sealed is not None
    assert new.open(owner, sealed) == "z"
    for reader, text in ((new, old.seal(owner, "x")), (between, old.seal(other, "x"))):
        with pytest.raises(InvalidTag):
            reader.open(owner, text)


async def test_all_is_under_the_new_key_afterwards_and_served_meanwhile(
    installation: WebhookInstallation,
) -> None:
    tokens = await issue(installation, 5)
    session_id, token = next(iter(tokens.items()))
    endpoint = await installation.endpoint("/here", session_id)
    rotated = await installation.endpoints.rotate_secret(OPERATOR, endpoint.id)
    assert rotated is not None
    change = EndpointChange(frozenset({"headers"}), headers={"X-Tenant": "shop 7"})
    await installation.endpoints.change(OPERATOR, endpoint.id, change)
    await reseal_with_former(installation, [endpoint.id])
    secrets = (endpoint.secret, rotated.secret)

    async def delivered(count: int) -> None:
        await installation.receive(session_id)
        request = (await installation.gets("/here", count))[-1]
        for secret in secrets:
            Webhook(secret).verify(request.body, dict(request.headers))
        assert request.headers["X-Tenant"] == "shop 7"

    async with running_api(both(installation)) as api, running_deliverer(both(installation)):
        address = f"/api/sessions/{session_id}/token"
        assert (await api.admin.get(address)).json()["token"] == token
        await delivered(1)
        await run_key_rotation(both(installation), NEW)
        assert (await api.admin.get(address)).json()["token"] == token
        await delivered(2)
    async with running_api(installation.settings) as api, running_deliverer(installation.settings):
        for one, text in tokens.items():
            assert await shown(installation.database, NEW, one) == text
            assert (await api.client(text).get("/api/session")).json()["sessionId"] == str(one)
        await delivered(3)
    with pytest.raises(InvalidTag):
        await shown(installation.database, FORMER, session_id)


async def test_interrupted_after_any_batch_it_goes_on_where_it_was(
    installation: WebhookInstallation,
) -> None:
    tokens = await issue(installation, 7)
    secrets = box(TOKENS, NEW, FORMER)

    class Interrupted(Exception):
        pass

    class Fragile(KeyRotation):
        batches = 0

        async def _rotate_batch(self, *arguments: object) -> tuple[Sequence[UUID], Rotated]:
            if Fragile.batches == 2:
                raise Interrupted
            Fragile.batches += 1
            return await super()._rotate_batch(*arguments)  # type: ignore[arg-type]

    with pytest.raises(Interrupted):
        await Fragile(installation.database, batch=2).rotate(key_rotation.TOKENS, secrets)
    for session_id, token in tokens.items():  # half of them are under either key
        found = await Credentials(installation.database, secrets).show(session_id)
        assert found is not None
        assert found.get_secret_value() == token
    rotation = KeyRotation(installation.database, batch=2)
    assert await rotation.rotate(key_rotation.TOKENS, secrets) == Rotated(3, 4, 0)
    assert await rotation.rotate(key_rotation.TOKENS, secrets) == Rotated(0, 7, 0)
    assert {one: await shown(installation.database, NEW, one) for one in tokens} == tokens


async def waits_for_a_lock(installation: WebhookInstallation) -> None:
    """Until somebody in this database does."""

    async def one_waits() -> bool:
        async with installation.database.connection() as connection:
            return bool(await connection.fetchval(WAITING))

    await eventually(one_waits, what="the rotation waits for a row")


async def test_a_token_that_is_rotated_in_the_same_moment_stays_the_new_one(
    installation: WebhookInstallation,
) -> None:
    (session_id,) = await issue(installation, 1)
    secrets = box(TOKENS, NEW, FORMER)
    async with asyncio.TaskGroup() as group, installation.database.transaction() as connection:
        await connection.execute(
            "UPDATE credentials SET token_cipher = $1", secrets.seal(session_id, "renewed")
        )
        rotation = KeyRotation(installation.database)
        group.create_task(rotation.rotate(key_rotation.TOKENS, secrets))
        await waits_for_a_lock(installation)
    assert await shown(installation.database, NEW, session_id) == "renewed"


async def test_what_neither_key_opens_is_named_and_left_alone(
    installation: WebhookInstallation,
) -> None:
    (stranger,) = await issue(installation, 1, SecretStr("nobody's"))
    tokens = await issue(installation, 2)
    with pytest.raises(CannotRotate, match=r"^1 secrets were sealed with neither"):
        await run_key_rotation(both(installation), NEW)
    assert {one: await shown(installation.database, NEW, one) for one in tokens} == tokens
    async with running_api(installation.settings) as api:
        answer = await api.admin.get(f"/api/sessions/{stranger}/token")
        assert (answer.status_code, answer.json()["code"]) == (409, "token_unreadable")
        assert "Rotate it" in answer.json()["error"]
        renewed = await api.admin.post(f"/api/sessions/{stranger}/token")
        assert renewed.status_code == 200


async def test_the_command_takes_both_keys_from_the_environment_and_survives_a_kill(
    installation: WebhookInstallation, tmp_path: Path
) -> None:
    tokens = await issue(installation, 20)

    def start(name: str, **keys: str) -> Child:
        environment = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(tmp_path),
            "API_DATABASE_URL": installation.settings.api_database_url.get_secret_value(),
            **keys,
        }
        command = python_module("wa_api", "rotate-key")
        return Child.start(Orders(name, command, environment, tmp_path / name))

    half_told = start("half-told", TOKEN_ENCRYPTION_KEY=NEW.get_secret_value())
    assert await half_told.wait() == 1
    assert "FORMER_TOKEN_ENCRYPTION_KEY" in half_told.last_words(5)
    keys = {
        "TOKEN_ENCRYPTION_KEY": NEW.get_secret_value(),
        "FORMER_TOKEN_ENCRYPTION_KEY": FORMER.get_secret_value(),
    }
    async with installation.database.transaction() as connection:  # it waits for this row
        await connection.execute("SELECT * FROM credentials FOR UPDATE")
        killed = start("killed", **keys)
        await waits_for_a_lock(installation)
        killed.signal(signal.SIGKILL)
        await killed.wait()
    assert {one: await shown(installation.database, FORMER, one) for one in tokens} == tokens
    again = start("again", **keys)
    assert await again.wait() == 0, again.last_words(20)
    assert {one: await shown(installation.database, NEW, one) for one in tokens} == tokens
    for secret in (NEW, FORMER):
        assert secret.get_secret_value() not in (tmp_path / "again").read_text()
