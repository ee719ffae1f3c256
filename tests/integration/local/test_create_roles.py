"""The databases of compose and Kubernetes are those of the local stack, and come back from a backup."""

import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import yaml

from deploy.servers import databases, postgres
from deploy.servers.factory import PostgresServer
from tests.infrastructure import OwnPostgres
from wa_runtime.migrations import migrate

ROOT = Path(__file__).resolve().parents[3]
PRODUCTION = ROOT / "deploy/k8s/overlays/production/postgres.yaml"
PASSWORDS = {
    "API_DB_PASSWORD": "api's",
    "SESSION_HOST_DB_PASSWORD": "host's",
    "DEVICE_STORE_PASSWORD": "devices'",
}
ROLES = ("wa_api", "wa_session_host", "wa_devices")

MAY = """
SELECT role, subject, privilege, CASE kind
    WHEN 'database' THEN has_database_privilege(role, subject, privilege)
    ELSE has_schema_privilege(role, subject, privilege) END AS may
FROM unnest($1::text[]) AS role, (VALUES
    ('database', 'whatsapp', 'CONNECT'), ('database', 'whatsapp', 'CREATE'),
    ('database', 'whatsapp', 'TEMPORARY'), ('database', 'wa_devices', 'CONNECT'),
    ('database', 'wa_devices', 'CREATE'), ('database', 'wa_devices', 'TEMPORARY'),
    ('schema', 'public', 'USAGE'), ('schema', 'public', 'CREATE'),
    ('schema', 'api', 'USAGE'), ('schema', 'api', 'CREATE'),
    ('schema', 'api_rebuild', 'USAGE'), ('schema', 'api_rebuild', 'CREATE'),
    ('schema', 'session_host', 'USAGE'), ('schema', 'session_host', 'CREATE')
) AS subjects (kind, subject, privilege)
ORDER BY role, subject, privilege
"""
ARE = """
SELECT rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolinherit, rolreplication,
       rolbypassrls, rolconfig
FROM pg_roles WHERE rolname = ANY($1::text[]) ORDER BY rolname
"""


def _environment(url: str) -> dict[str, str]:
    """What makes Postgres's own programs go to that server as its superuser."""
    parts = urlsplit(url)
    return {
        "PATH": f"{postgres._binary('psql').parent}:{os.environ['PATH']}",
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGPASSWORD": parts.password or "",
        "PGUSER": "postgres",
    }


def _create_roles(url: str, passwords: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "deploy/postgres/create-roles.sh"],
        env=_environment(url) | passwords,
        capture_output=True,
        text=True,
        check=False,
    )


def _run(url: str, *command: str, data: bytes | None = None) -> bytes:
    done = subprocess.run(
        command, env=_environment(url), input=data, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _in(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()


async def _picture(url: str) -> list[list[Any]]:
    connection = await asyncpg.connect(_in(url, "whatsapp"))
    try:
        return [[tuple(r) for r in await connection.fetch(q, list(ROLES))] for q in (ARE, MAY)]
    finally:
        await connection.close()


@pytest.fixture
async def expected(own_postgres: OwnPostgres) -> list[list[Any]]:
    """What the local stack makes."""
    server = await own_postgres()
    await databases.provide(server.url)
    return await _picture(server.url)


async def test_the_script_makes_what_the_local_stack_makes(
    own_postgres: OwnPostgres, expected: list[list[Any]]
) -> None:
    url = (await own_postgres()).url
    for passwords in (PASSWORDS, {name: f"{word} new" for name, word in PASSWORDS.items()}):
        made = _create_roles(url, passwords)
        assert (made.returncode, made.stderr) == (0, "")
        assert await _picture(url) == expected
        for role, password in zip(ROLES, passwords.values(), strict=True):
            database = "wa_devices" if role == "wa_devices" else "whatsapp"
            connection = await asyncpg.connect(_in(url, database), user=role, password=password)
            await connection.close()


async def test_the_script_wants_all_passwords(own_postgres: OwnPostgres) -> None:
    url = (await own_postgres()).url
    refused = _create_roles(url, {**PASSWORDS, "DEVICE_STORE_PASSWORD": ""})
    assert (refused.returncode, refused.stderr) == (1, "DEVICE_STORE_PASSWORD is not set\n")


async def test_production_makes_what_the_local_stack_makes(
    own_postgres: OwnPostgres, expected: list[list[Any]]
) -> None:
    """CloudNativePG runs the first list in `postgres`, makes the database, then runs the second."""
    url = (await own_postgres()).url
    cluster = next(iter(yaml.safe_load_all(PRODUCTION.read_text())))
    initdb = cluster["spec"]["bootstrap"]["initdb"]
    owner, database = initdb["owner"], initdb["database"]
    first = [
        f"CREATE ROLE {owner} LOGIN",
        *initdb["postInitSQL"],
        f"CREATE DATABASE {database} OWNER {owner}",
    ]
    for name, statements in (("postgres", first), (database, initdb["postInitApplicationSQL"])):
        connection = await asyncpg.connect(_in(url, name))
        for statement in statements:
            await connection.execute(statement)
        await connection.close()
    assert await _picture(url) == expected
    assert {role["name"] for role in cluster["spec"]["managed"]["roles"]} == set(ROLES)


async def test_a_backup_comes_back_on_an_empty_server(own_postgres: OwnPostgres) -> None:
    """The commands of docs/operations.md, without the container around them."""
    old, new = await own_postgres(), await own_postgres()
    for server in (old, new):
        assert _create_roles(server.url, PASSWORDS).returncode == 0
    await _fill(old)
    for database in ("whatsapp", "wa_devices"):
        dump = _run(old.url, "pg_dump", "--format=custom", database)
        _run(
            new.url,
            *("pg_restore", "--clean", "--if-exists", "--exit-on-error"),
            *("--single-transaction", f"--dbname={database}"),
            data=dump,
        )
    assert await _picture(new.url) == await _picture(old.url)
    assert await _contents(new) == await _contents(old)
    # Restored schemas are those of the same version: there is nothing left to migrate.
    assert await migrate(_as(new, "wa_api", "API_DB_PASSWORD"), "wa_api") == ()
    host = _as(new, "wa_session_host", "SESSION_HOST_DB_PASSWORD")
    assert await migrate(host, "wa_session_host") == ()


def _as(server: PostgresServer, role: str, password: str, database: str = "whatsapp") -> str:
    parts = urlsplit(_in(server.url, database))
    address = f"{role}:{PASSWORDS[password].replace(chr(39), '%27')}@{parts.hostname}:{parts.port}"
    return parts._replace(netloc=address).geturl()


async def _fill(server: PostgresServer) -> None:
    await migrate(_as(server, "wa_api", "API_DB_PASSWORD"), "wa_api")
    host = _as(server, "wa_session_host", "SESSION_HOST_DB_PASSWORD")
    await migrate(host, "wa_session_host")
    devices = _as(server, "wa_devices", "DEVICE_STORE_PASSWORD", "wa_devices")
    for url, statement in (
        (host, "UPDATE partitions SET fencing_token = partition + 7, relayed_position = 3"),
        (
            devices,
            "CREATE TABLE devices AS SELECT n, 'jid ' || n AS jid FROM generate_series(1, 9) n",
        ),
    ):
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()


async def _contents(server: PostgresServer) -> list[list[Any]]:
    found = []
    for database, query in (
        ("whatsapp", "SELECT * FROM session_host.partitions ORDER BY partition"),
        ("whatsapp", "SELECT name FROM api.applied_migrations ORDER BY name"),
        ("wa_devices", "SELECT * FROM devices ORDER BY n"),
        (
            "whatsapp",
            """SELECT schemaname, tablename, tableowner FROM pg_tables
               WHERE schemaname IN ('api', 'session_host') ORDER BY 1, 2""",
        ),
    ):
        connection = await asyncpg.connect(_in(server.url, database))
        found.append([tuple(row) for row in await connection.fetch(query)])
        await connection.close()
    assert all(found)
    return found
