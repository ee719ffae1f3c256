"""Creates the databases, roles and schemas of the services on any Postgres.

Both services share a database. Each owns a schema and has no rights in the other's. The engine's
device store has a second database.
"""

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import asyncpg

from deploy.servers.postgres import PostgresUnavailable
from wa_runtime.retries import connect_when_ready

# Role → its schema in the services' database.
_SCHEMAS = {"wa_api": "api", "wa_session_host": "session_host"}
# Role → the schema in which a rebuild fills its tables.
_SHADOWS = {"wa_api": "api_rebuild"}
_DEVICES_ROLE = "wa_devices"

_ROLE_EXISTS = "SELECT 1 FROM pg_roles WHERE rolname = $1"
_DATABASE_EXISTS = "SELECT 1 FROM pg_database WHERE datname = $1"


@dataclass(frozen=True)
class Databases:
    """One URL per role."""

    api: str
    session_host: str
    devices: str

    def environment(self) -> dict[str, str]:
        return {
            "API_DATABASE_URL": self.api,
            "SESSION_HOST_DATABASE_URL": self.session_host,
            "DEVICE_STORE_URL": self.devices,
        }


def urls(admin_url: str, name: str, devices: str) -> Databases:
    """The URLs of databases created by `provide` or `clone` on that server."""
    return Databases(
        api=_url(admin_url, "wa_api", name),
        session_host=_url(admin_url, "wa_session_host", name),
        # The engine's driver (lib/pq) requires TLS by default.
        devices=_url(admin_url, _DEVICES_ROLE, devices) + "?sslmode=disable",
    )


async def provide(admin_url: str, name: str = "whatsapp", devices: str = "wa_devices") -> Databases:
    """Create what is missing. Existing data stays. Waits while the server recovers.

    Raises:
        PostgresUnavailable: It does not accept connections for a minute.
    """
    connection = await _connected(admin_url)
    try:
        for role in (*_SCHEMAS, _DEVICES_ROLE):
            if not await connection.fetchval(_ROLE_EXISTS, role):
                await connection.execute(f"CREATE ROLE {role} LOGIN")
            await connection.execute(f"ALTER ROLE {role} PASSWORD '{_password(admin_url, role)}'")
        for role, schema in _SCHEMAS.items():
            await connection.execute(f"ALTER ROLE {role} SET search_path = {schema}")
        if not await connection.fetchval(_DATABASE_EXISTS, name):
            await connection.execute(f'CREATE DATABASE "{name}"')
        if not await connection.fetchval(_DATABASE_EXISTS, devices):
            await connection.execute(f'CREATE DATABASE "{devices}" OWNER {_DEVICES_ROLE}')
        await _restrict(connection, name, devices)
    finally:
        await connection.close()
    await _make_schemas(_url_of_database(admin_url, name))
    return urls(admin_url, name, devices)


async def clone(admin_url: str, template: str, name: str) -> Databases:
    """Copy a database created by `provide`; the device store `<name>_devices` is empty."""
    devices = f"{name}_devices"
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        await connection.execute(f'CREATE DATABASE "{devices}" OWNER {_DEVICES_ROLE}')
        await _restrict(connection, name, devices)
    finally:
        await connection.close()
    return urls(admin_url, name, devices)


async def drop(admin_url: str, *names: str) -> None:
    """Drop databases, even with open connections."""
    connection = await asyncpg.connect(admin_url)
    try:
        for name in names:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


async def _connected(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        return await connect_when_ready(url, "Postgres")
    except TimeoutError as error:
        raise PostgresUnavailable(str(error)) from error


async def _restrict(
    connection: "asyncpg.Connection[asyncpg.Record]", name: str, devices: str
) -> None:
    await connection.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
    await connection.execute(f'REVOKE ALL ON DATABASE "{devices}" FROM PUBLIC')
    for role in _SCHEMAS:
        await connection.execute(f'GRANT CONNECT, TEMPORARY ON DATABASE "{name}" TO {role}')


async def _make_schemas(url: str) -> None:
    connection = await _connected(url)
    try:
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for role, schema in (*_SCHEMAS.items(), *_SHADOWS.items()):
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {role}")
    finally:
        await connection.close()


def _password(admin_url: str, role: str) -> str:
    """Derive a role's password from the administrator's, so that no other secret is stored."""
    secret = urlsplit(admin_url).password or ""
    return hmac.new(secret.encode(), role.encode(), hashlib.sha256).hexdigest()[:32]


def _url(admin_url: str, role: str, database: str) -> str:
    parts = urlsplit(admin_url)
    credentials = f"{role}:{_password(admin_url, role)}"
    return f"postgresql://{credentials}@{parts.hostname}:{parts.port or 5432}/{quote(database)}"


def _url_of_database(admin_url: str, database: str) -> str:
    return urlsplit(admin_url)._replace(path=f"/{quote(database)}").geturl()
