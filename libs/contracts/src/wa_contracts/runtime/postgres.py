"""Pools of connections to Postgres."""


async def keep_as_it_is(_: object) -> None:
    """A pool's `reset` without a round trip, for services that change nothing of a connection.

    No settings, listeners or session locks, that is; an open transaction is ended by asyncpg itself.
    """
