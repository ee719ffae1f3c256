"""A database with the api's tables and a receiver for each test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure import NewDatabase
from tests.integration.api.running import settings_for
from tests.integration.webhooks.installation import IMPATIENT, WebhookInstallation
from tests.integration.webhooks.receiver import running_receiver
from wa_api.database.pool import Database


@pytest.fixture
async def installation(
    new_migrated_database: NewDatabase, tmp_path: Path, request: Any
) -> AsyncIterator[WebhookInstallation]:
    """An api's database and a receiver. Settings may be given by indirect parametrization."""
    url = (await new_migrated_database()).api
    changed = {**IMPATIENT, "webhooks_metrics_port": 0, **getattr(request, "param", {})}
    settings = settings_for(url, "amqp://127.0.0.1:1/", tmp_path, **changed)
    async with Database(url) as database, running_receiver() as receiver:
        yield WebhookInstallation(settings, database, receiver)
