"""An engine that is linked and logged in: where most tests of the stand-in begin."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.whatsapp.contact import Contact
from tests.whatsapp.engine_process import Engine
from tests.whatsapp.phone import Phone
from tests.whatsapp.server import StandIn

_NUMBERS = itertools.count(919_876_500_000)


def new_number() -> str:
    """A phone number that no other test uses."""
    return str(next(_NUMBERS))


@dataclass(frozen=True)
class Linked:
    """A logged-in engine, the phone of its account, somebody to talk to, and its device store."""

    engine: Engine
    phone: Phone
    contact: Contact
    store: Path


@asynccontextmanager
async def linked(
    whatsapp: StandIn, directory: Path, *, forked: bool = False
) -> AsyncIterator[Linked]:
    """Run an engine with a fresh store, link it by QR, and wait until it is connected."""
    phone, contact = whatsapp.phone(new_number()), whatsapp.contact(new_number())
    store = directory / "devices.db"
    async with Engine.run(store, whatsapp.engine_environment(), forked=forked) as engine:
        await engine.connect()
        await phone.scan(await engine.qr())
        await engine.event("ConnectedEv")
        yield Linked(engine, phone, contact, store)
