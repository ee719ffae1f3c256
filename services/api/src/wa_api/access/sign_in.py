"""The dashboard's signed cookie and CSRF token. Stateless."""

import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256

from pydantic import SecretStr

from wa_api.access.keys import Keys, derive
from wa_api.access.rate_limit import RateLimit

COOKIE = "wa_session"
LIFETIME = timedelta(hours=12)
FAILURES_PER_MINUTE = 10


class SignIn:
    """Checks the admin key; creates and checks cookies and CSRF tokens.

    `now` is the wall clock, `monotonic` limits wrong keys. The signature covers both keys, so
    changing either signs everybody out.
    """

    def __init__(
        self, keys: Keys, *, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._admin = keys.admin.get_secret_value().encode()
        both = f"{keys.admin.get_secret_value()}\n{keys.encryption.get_secret_value()}"
        self._key = derive(SecretStr(both), "dashboard cookie")
        self._now = now
        self._failures = RateLimit(FAILURES_PER_MINUTE, monotonic)

    def is_admin_key(self, given: str) -> bool:
        """Compare with the admin key in constant time."""
        return hmac.compare_digest(given.encode(), self._admin)

    def count_wrong_key(self, client: str) -> int:
        """Count a wrong key of this client. Seconds to wait if it has given too many, else 0."""
        return self._failures.acquire(client)

    def new_cookie(self) -> str:
        """A cookie value, valid for `LIFETIME`."""
        expires = int((self._now() + LIFETIME).timestamp())
        plain = f"{expires}.{secrets.token_urlsafe(16)}"
        return f"{plain}.{self._sign('cookie', plain)}"

    def is_signed_in(self, cookie: str | None) -> bool:
        plain, _, signature = (cookie or "").rpartition(".")
        genuine = hmac.compare_digest(signature.encode(), self._sign("cookie", plain).encode())
        return genuine and int(plain.partition(".")[0]) > self._now().timestamp()

    def csrf_token(self, cookie: str) -> str:
        """The `X-CSRF-Token` for unsafe requests of this sign-in."""
        return self._sign("csrf", cookie)

    def is_csrf_token(self, given: str, cookie: str) -> bool:
        return hmac.compare_digest(given.encode(), self.csrf_token(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\n{text}".encode(), sha256).hexdigest()
