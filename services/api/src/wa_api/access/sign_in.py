"""The dashboard's signed cookie and its CSRF token. No state: the keys decide what is genuine."""

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
    """Checks the admin key, and makes and checks what a signed-in browser holds.

    `now` is the wall clock (the cookie's expiry is one), `monotonic` counts failed attempts.
    Both keys go into the signature: changing either signs everybody out.
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
        """Whether this is the admin key, in constant time."""
        return hmac.compare_digest(given.encode(), self._admin)

    def seconds_to_wait(self, client: str) -> int:
        """0, or how long this client has to wait after too many wrong keys."""
        return self._failures.wait_for(client)

    def attempt(self, given: str, client: str) -> bool:
        """One try to sign in; wrong ones are counted by client."""
        if self.is_admin_key(given):
            return True
        self._failures.take(client)
        return False

    def new_cookie(self) -> str:
        """The value of a cookie that is good for `LIFETIME`."""
        expires = int((self._now() + LIFETIME).timestamp())
        plain = f"{expires}.{secrets.token_urlsafe(16)}"
        return f"{plain}.{self._sign('cookie', plain)}"

    def is_signed_in(self, cookie: str | None) -> bool:
        """Whether the cookie is ours and has not expired."""
        plain, _, signature = (cookie or "").rpartition(".")
        genuine = hmac.compare_digest(signature.encode(), self._sign("cookie", plain).encode())
        return genuine and int(plain.partition(".")[0]) > self._now().timestamp()

    def csrf_token(self, cookie: str) -> str:
        """What a page of this sign-in sends as `X-CSRF-Token` with every unsafe request."""
        return self._sign("csrf", cookie)

    def is_csrf_token(self, given: str, cookie: str) -> bool:
        """Whether the token belongs to the cookie."""
        return hmac.compare_digest(given.encode(), self.csrf_token(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\n{text}".encode(), sha256).hexdigest()
