"""Phone numbers and the addresses that WhatsApp has for them."""

import asyncio
from typing import Any

from neonize.exc import NeonizeError
from neonize.proto import Neonize_pb2 as proto

from wa_contracts.internal.questions import NumberCheck
from wa_session_host.engine.neonize.outgoing.account_lookup import Account
from wa_session_host.engine.neonize.outgoing.query_pause import QueryPause
from wa_session_host.engine.neonize.outgoing.send_errors import RATE_LIMITED, preparation_error
from wa_session_host.engine.neonize.translation import format_jid, parse_jid
from wa_session_host.engine.port import NotNow, SendRefused

QUERY_SECONDS = 15
"""The engine itself waits 75 s, and holds up the session."""


class Numbers:
    """Queries about numbers through one client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pause = QueryPause()

    async def account(self, number: str) -> Account | None:
        """The account of a number; None without one. WhatsApp names it by either kind of JID.

        While queries are paused, the device store answers for numbers that it knows.

        Raises the errors of `preparation_error`.
        """
        if self._pause.is_on and await self._lid_of(parse_jid(f"{number}@s.whatsapp.net")):
            return Account(f"{number}@s.whatsapp.net", number)
        found = next((one for one in await self._query(number) if one.IsIn), None)
        if found is None:
            return None
        jid = format_jid(found.JID)
        if found.JID.Server != "lid":
            return Account(jid, found.JID.User)
        told = await self.number_of(found.JID)
        return Account(f"{told}@s.whatsapp.net" if told else jid, told)

    async def check(self, numbers: tuple[str, ...]) -> tuple[NumberCheck, ...]:
        """Which of these have an account, in one query. WhatsApp leaves out malformed ones.

        Raises the errors of `preparation_error`.
        """
        try:
            answers = await self._query(*numbers)
        except SendRefused as error:
            if error.code != "invalid_recipient":
                raise
            answers = []  # all of them are malformed
        found = {one.Query.removeprefix("+"): one.JID for one in answers if one.IsIn}
        return tuple([await self._checked(number, found.get(number)) for number in numbers])

    async def number_of(self, lid: proto.JID) -> str | None:
        """The number of a LID in the device store."""
        try:
            user: str = (await self._client.get_pn_from_lid(lid)).User
        except NeonizeError:
            return None
        return user or None

    async def _query(self, *numbers: str) -> Any:
        self._pause.check()
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                found = await self._client.is_on_whatsapp(*(f"+{number}" for number in numbers))
        except TimeoutError as error:
            raise preparation_error("info query timed out") from error
        except NeonizeError as error:
            problem = preparation_error(str(error))
            if isinstance(problem, NotNow) and problem.code == RATE_LIMITED:
                self._pause.limited()
            raise problem from error
        self._pause.answered()
        return found

    async def _checked(self, number: str, jid: proto.JID | None) -> NumberCheck:
        if jid is None:
            return NumberCheck(number=number, exists=False)
        hidden = jid.Server == "lid"
        told = await self.number_of(jid) if hidden else jid.User
        lid = format_jid(jid) if hidden else await self._lid_of(jid)
        address = f"{told}@s.whatsapp.net" if told else format_jid(jid)
        return NumberCheck(number=number, exists=True, phone_number=told, jid=address, lid=lid)

    async def _lid_of(self, jid: proto.JID) -> str | None:
        """The LID of a number in the device store."""
        try:
            found = await self._client.get_lid_from_pn(jid)
        except NeonizeError:
            return None
        return format_jid(found) if found.User else None
