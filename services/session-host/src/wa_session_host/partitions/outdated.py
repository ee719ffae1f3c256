"""Sessions that wait for another client version, because WhatsApp refuses the one that they tried."""

from collections.abc import Callable, Iterable
from pathlib import Path

from wa_session_host.domain.observations import ClientVersion
from wa_session_host.domain.session import refused_version
from wa_session_host.engine.port import Engines
from wa_session_host.engine.process.client_versions import ClientVersions
from wa_session_host.partitions.partition import Partition


def refused_versions(partitions: Iterable[Partition]) -> list[ClientVersion]:
    """The refused version of each session that waits for another one."""
    owners = (owner for partition in partitions for owner in partition.sessions.values())
    versions = (refused_version(owner.state) for owner in owners)
    return [version for version in versions if version is not None]


async def follow_versions(
    versions: ClientVersions, engines: Engines, partitions: Callable[[], Iterable[Partition]]
) -> None:
    """Load engines with the wanted version as it changes. Sessions that wait for it start at once."""

    async def use(library: Path | None) -> None:
        await engines.use(library)
        for partition in partitions():
            for owner in partition.sessions.values():
                owner.try_new_version()

    await versions.follow(use, lambda: engines.version in refused_versions(partitions()))
