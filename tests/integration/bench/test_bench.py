"""The quick ones of the measures run, in their short form; what they find is not judged."""

import pytest

from deploy.servers.factory import PostgresServer, RabbitMQServer
from tests.bench.__main__ import MEASURES
from tests.bench.installation import Servers


@pytest.fixture(scope="module")
def servers(
    postgres: PostgresServer,
    rabbitmq: RabbitMQServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Servers:
    directory = tmp_path_factory.mktemp("bench")
    return Servers(directory, postgres, rabbitmq, migrated_template, short=True, traffic_seconds=1)


@pytest.mark.parametrize("name", ["sends", "projection", "lookups"])
async def test_a_measure_finds_figures(servers: Servers, name: str) -> None:
    figures = await MEASURES[name](servers)
    assert all(figure.value > 0 for figure in figures)
    assert any(figure.target is not None for figure in figures)
    assert len({figure.name for figure in figures}) == len(figures)
