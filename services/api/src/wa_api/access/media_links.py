"""Links to one message's media that need no token and end: an HMAC in the address."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from pydantic import SecretStr

from wa_api.access.keys import derive
from wa_api.http.problems import Problem

PURPOSE = "media links"


class MediaLinks:
    """Makes and checks links. During a key rotation, links of either key are good."""

    def __init__(
        self,
        key: SecretStr,
        former: SecretStr | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = [derive(one, PURPOSE) for one in (key, former) if one is not None]
        self._clock = clock

    def link(self, base: str, message_id: UUID, life: timedelta) -> tuple[str, datetime]:
        """A link below `base`, and when it ends."""
        ends = (self._clock() + life).replace(microsecond=0)
        expires = int(ends.timestamp())
        signature = _signature(self._keys[0], str(message_id), expires)
        query = urlencode({"expires": expires, "signature": signature})
        return f"{base}/api/links/{message_id}?{query}", ends

    def check(self, message_id: str, expires: int, signature: str) -> None:
        """Refuse what is not the end and signature of a link to this message.

        Raises:
            Problem: 403 if it was never one; 410 if it has ended.
        """
        if not any(
            hmac.compare_digest(_signature(key, message_id, expires).encode(), signature.encode())
            for key in self._keys
        ):
            raise Problem("media_link_invalid", "This is no link of this gateway to this media.")
        if expires <= self._clock().timestamp():
            raise Problem(
                "media_link_expired",
                "The link has ended. Get the media with a token, or have the event delivered anew.",
            )


def _signature(key: bytes, message_id: str, expires: int) -> str:
    digest = hmac.digest(key, f"{message_id}\n{expires}".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
