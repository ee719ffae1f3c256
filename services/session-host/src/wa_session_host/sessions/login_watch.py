"""Notices a login that neither succeeds nor fails."""

import asyncio


class LoginWatch:
    """Told when a login is under way; costs nothing while none is."""

    def __init__(self, seconds: float) -> None:
        """A login may take so long."""
        self._seconds = seconds
        self._under_way = asyncio.Event()
        self._over = asyncio.Event()

    def tell(self, *, under_way: bool) -> None:
        """Say whether a login is under way now."""
        begun, ended = self._under_way, self._over
        (begun if under_way else ended).set()
        (ended if under_way else begun).clear()

    async def overdue(self) -> None:
        """Return when one has been under way for too long since this call."""
        while True:
            await self._under_way.wait()
            try:
                async with asyncio.timeout(self._seconds):
                    await self._over.wait()
            except TimeoutError:
                return
