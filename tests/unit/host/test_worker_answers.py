"""A worker answers every call, whatever happens in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from wa_contracts.internal.commands import MessageType
from wa_contracts.internal.questions import CheckNumbers
from wa_session_host.domain.observations import ReceivedMedia
from wa_session_host.engine.neonize.worker import answer
from wa_session_host.engine.port import NotSent, OutgoingMessage
from wa_session_host.engine.process.worker_engines import worker_environment
from wa_session_host.engine.protocol import (
    AskCall,
    CallResult,
    DownloadCall,
    Frame,
    LogOutCall,
    PairCall,
    SendCall,
)

SECRET = "a text of the user"
MEDIA = ReceivedMedia(
    kind="image",
    direct_path="/",
    media_key="",
    sha256="",
    encrypted_sha256="",
    size=1,
    mime_type="image/png",
)
CALLS = (
    SendCall(1, OutgoingMessage("919876543210", MessageType.TEXT, SECRET, None)),
    PairCall(1, "919876543210"),
    DownloadCall(1, MEDIA, str(Path("media"))),
    AskCall(1, CheckNumbers(numbers=("919876543210",))),
    LogOutCall(1),
)


class Engine:
    """Fails in every call."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: object) -> None:
            raise self._error

        return fail


class Deadline:
    """Far away."""

    def check(self) -> None:
        """Accept."""


@pytest.mark.parametrize("call", CALLS, ids=lambda call: type(call).__name__)
@pytest.mark.parametrize("error", [KeyError(SECRET), TimeoutError(), RuntimeError(SECRET)])
async def test_an_unexpected_error_is_an_answer(
    call: Any, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Frame] = []
    await answer(Engine(error), call, cast("Any", Deadline()), told.append)
    [result] = told
    assert isinstance(result, CallResult)
    assert (result.call, result.error) == (1, "OutcomeUnknown")
    assert type(error).__name__ in result.message
    assert SECRET not in result.message + caplog.text


async def test_a_known_error_keeps_its_certainty() -> None:
    told: list[Frame] = []
    await answer(Engine(NotSent("not connected")), CALLS[0], cast("Any", Deadline()), told.append)
    [result] = told
    assert isinstance(result, CallResult)
    assert (result.error, result.message) == ("NotSent", "not connected")


def test_workers_inherit_no_setting_of_the_host() -> None:
    host: Mapping[str, str] = {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": "/x",
        "HTTPS_PROXY": "http://proxy:3128",
        "SSL_CERT_FILE": "/ca.pem",
        "SESSION_HOST_DATABASE_URL": "postgresql://wa_session_host:password@db/whatsapp",
        "DEVICE_STORE_URL": "postgresql://wa_devices:password@db/wa_devices",
        "AMQP_URL": "amqp://session-host:password@broker/",
        "ADMIN_KEY": "password",
        "AWS_SECRET_ACCESS_KEY": "password",
    }
    environment = worker_environment(host)
    assert "password" not in str(environment)
    assert {name for name in host if name in environment} == {
        *("PATH", "LC_ALL", "PYTHONPATH", "HTTPS_PROXY", "SSL_CERT_FILE")
    }
    assert (environment["SPHINX"], environment["NEONIZE_BOT_TAG"]) == ("1", "off")
