"""Creates the broker's users and topology through its management API."""

from urllib.parse import unquote, urlsplit

import aiohttp
import structlog

from wa_api.refusal import Refusal
from wa_runtime.broker_users import API, SESSION_HOST, definitions
from wa_runtime.retries import until_available

log = structlog.get_logger()

PATIENCE_SECONDS = 120.0
REQUEST_SECONDS = 60.0
LONGEST_ANSWER = 300
"""Characters of the broker's answer in a message."""


class _NotReady(Exception):
    """The broker cannot do it now. A recovering one answers 400 for queues without a leader."""


_UNAVAILABLE = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    TimeoutError,
    _NotReady,
)


class CannotSetUpBroker(Refusal):
    """The broker refused or stayed away. The text says what to do."""


async def set_up_broker(
    management_url: str, *, api_password: str, session_host_password: str
) -> None:
    """Create or update both services' users, their permissions and the topology.

    `management_url` is `http://user:password@host:15672` of an administrator. Repeatable: passwords
    and permissions are set again, queues stay.

    Raises:
        CannotSetUpBroker: The text says what to do.
    """
    parts = urlsplit(management_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not parts.username:
        raise CannotSetUpBroker(
            "BROKER_MANAGEMENT_URL must look like http://user:password@host:15672."
        )
    body = definitions({API: api_password, SESSION_HOST: session_host_password})
    authority = parts.netloc.rpartition("@")[2]
    address = parts._replace(netloc=authority, path="/api/definitions").geturl()
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    login = aiohttp.encode_basic_auth(unquote(parts.username), unquote(parts.password or ""))
    headers = {"Authorization": login}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:

        async def upload() -> None:
            async with session.post(address, json=body) as answer:
                _check(answer.status, (await answer.text())[:LONGEST_ANSWER])

        try:
            await until_available(
                "set_up_broker",
                upload,
                on=_UNAVAILABLE,
                event="waiting_for_broker",
                within=PATIENCE_SECONDS,
            )
        except TimeoutError as error:
            raise CannotSetUpBroker(
                f"The broker's management interface, {error}. Is the broker up, and is the "
                "address in BROKER_MANAGEMENT_URL right? Nothing else was changed."
            ) from error
    log.info("broker_set_up", users=[API.name, SESSION_HOST.name])


def _check(status: int, text: str) -> None:
    if status == 401:
        raise CannotSetUpBroker(
            "The broker refused the administrator's user or password in BROKER_MANAGEMENT_URL."
        )
    if status == 400 or status >= 500:
        raise _NotReady(f"it answered {status}: {text}")
    if status >= 300:
        raise CannotSetUpBroker(f"The broker refused the definitions ({status}): {text}")
