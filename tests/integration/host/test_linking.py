"""How linking fails, through the real engine: each case has a reason of its own."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.deadlines import eventually
from tests.whatsapp import PairingRefused, Phone, StandIn, refusals
from tests.whatsapp.refusals import LoginRefusal, QueryRefusal
from wa_contracts.ids import SessionId
from wa_session_host.domain.observations import (
    ClientOutdated,
    EngineCrashed,
    EngineEnding,
    EngineRefused,
    LinkedDevice,
    LinkRemoved,
    LoggedIn,
    NumberBanned,
    NumberRestricted,
    QRShown,
    Seen,
)
from wa_session_host.engine.port import Engine, PairingUnavailable
from wa_session_host.engine.process.worker_engines import WorkerEngines

NUMBER = "919876543210"


@dataclass
class Attempt:
    """An engine that is being linked, and what it saw."""

    engine: Engine
    seen: list[Seen]

    async def saw(self, kind: type[Seen], number: int = 1) -> Seen:
        """The first observation of a kind, or a later one."""

        def found() -> Seen | None:
            all_ = [one for one in self.seen if isinstance(one, kind)]
            return all_[number - 1] if len(all_) >= number else None

        seen = await eventually(found, what=f"{kind.__name__} among {self.seen}")
        assert seen is not None
        return seen

    async def qr(self, number: int = 1) -> str:
        """The text of a code."""
        shown = await self.saw(QRShown, number)
        assert isinstance(shown, QRShown)
        return shown.qr

    async def ending(self) -> Seen:
        """The observation with which it ended: the last one."""
        await eventually(
            lambda: any(isinstance(one, EngineEnding) for one in self.seen), what="the end"
        )
        assert isinstance(self.seen[-1], EngineEnding)
        return self.seen[-1]


@dataclass
class Bench:
    """Engines of one host against the stand-in."""

    whatsapp: StandIn
    engines: WorkerEngines
    attempts: list[tuple[Engine, asyncio.Task[None]]]

    @property
    def phone(self) -> Phone:
        """A phone."""
        return self.whatsapp.phone(NUMBER)

    async def begin(
        self, session_id: SessionId | None = None, link: LinkedDevice | None = None
    ) -> Attempt:
        """Start an engine."""
        attempt = Attempt(await self.engines.start(session_id or SessionId(uuid4()), link), [])

        async def observe() -> None:
            async for one in attempt.engine.observations():
                attempt.seen.append(one)

        self.attempts.append((attempt.engine, asyncio.create_task(observe())))
        return attempt


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """One stand-in and one fork server for all tests."""
    async with StandIn.start() as whatsapp:
        before = dict(os.environ)
        os.environ.update(whatsapp.engine_environment())
        engines = WorkerEngines(f"sqlite://{tmp_path_factory.mktemp('store')}", starts_per_second=9)
        engines.extend(time.monotonic() + 3600)
        try:
            yield Bench(whatsapp, engines, [])
        finally:
            await engines.close()
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture
async def bench(running: Bench) -> AsyncIterator[Bench]:
    """Without refusals. Every engine ends with its test."""
    yield running
    running.whatsapp.refusals.linking = None
    running.whatsapp.refusals.pairing_codes.clear()
    running.whatsapp.online()
    for engine, observing in running.attempts:
        await engine.stop()
        await observing
    running.attempts.clear()


@pytest.mark.parametrize(
    ("refusal", "reason", "says"),
    [
        (refusals.UNAUTHORIZED, "linking_unauthorized", "401"),
        (refusals.UNAUTHORIZED_WITH_WORDS, "linking_unauthorized", "Unofficial apps"),
        (refusals.TEMPORARY_BAN, "linking_restricted", "120 minutes"),
        (refusals.LOCKED, "linking_locked", "This account is locked. Open WhatsApp on the phone."),
        (refusals.BANNED, "linking_banned", "406"),
        (refusals.BAD_USER_AGENT, "linking_client_rejected", "409"),
        (refusals.EXPERIMENTAL, "linking_refused", "501"),
    ],
    ids=str,
)
async def test_a_refusal_of_whatsapp_has_its_own_reason(
    bench: Bench, refusal: LoginRefusal, reason: str, says: str
) -> None:
    bench.whatsapp.refusals.linking = refusal
    end = await (await bench.begin()).ending()
    assert isinstance(end, EngineRefused)
    assert end.reason == reason
    assert says in end.message


async def test_an_outdated_client_is_named(bench: Bench) -> None:
    bench.whatsapp.refusals.linking = refusals.OUTDATED
    assert await (await bench.begin()).ending() == ClientOutdated(bench.engines.version)


async def test_a_service_that_is_unavailable_is_tried_again(bench: Bench) -> None:
    bench.whatsapp.refusals.linking = refusals.SERVICE_UNAVAILABLE
    end = await (await bench.begin()).ending()
    assert isinstance(end, EngineCrashed)
    assert end.reason == "whatsapp_unavailable"


async def test_a_connection_that_is_lost_is_no_expired_code(bench: Bench) -> None:
    attempt = await bench.begin()
    await attempt.qr()
    bench.whatsapp.offline()
    end = await attempt.ending()
    assert isinstance(end, EngineCrashed)
    assert end.reason == "linking_interrupted"


async def test_a_demand_for_a_passkey_ends_the_attempt_and_no_dead_code_is_shown(
    bench: Bench,
) -> None:
    attempt = await bench.begin()
    await bench.phone.scan_with_passkey(await attempt.qr())
    end = await attempt.ending()
    assert isinstance(end, EngineRefused)
    assert end.reason == "passkey_required"
    assert sum(isinstance(one, QRShown) for one in attempt.seen) == 1


async def test_a_phone_without_multidevice_is_named_and_the_same_code_links_another(
    bench: Bench,
) -> None:
    attempt = await bench.begin()
    text = await attempt.qr()
    await bench.phone.scan_without_multidevice(text)
    again = await attempt.saw(QRShown, 2)
    assert isinstance(again, QRShown)
    assert (again.qr, again.problem) == (text, "no_multidevice")
    await bench.phone.scan(text)
    await attempt.saw(LoggedIn)


async def test_a_code_of_an_earlier_attempt_is_stale(bench: Bench) -> None:
    attempt = await bench.begin()
    ref, noise, identity, _, kind = (await attempt.qr()).split(",")
    forged = ",".join((ref, noise, identity, "A" * 43 + "=", kind))
    with pytest.raises(PairingRefused):
        await bench.phone.scan(forged)
    end = await attempt.ending()
    assert isinstance(end, EngineRefused)
    assert end.reason == "stale_code"


async def test_a_pairing_code_lasts_as_long_as_its_attempt(bench: Bench) -> None:
    attempt = await bench.begin()
    await attempt.qr()
    began = datetime.now(UTC)
    first = await attempt.engine.pairing_code(NUMBER)
    later = await attempt.engine.pairing_code(NUMBER)
    left = first.expires_at - began
    assert timedelta(seconds=100) < left <= timedelta(seconds=160)
    assert abs(later.expires_at - first.expires_at) < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (refusals.RATE_OVERLIMIT, "no more pairing codes for now"),
        (refusals.BAD_REQUEST, "Check country code and digits"),
        (refusals.NOT_FOUND, "not on WhatsApp"),
        (refusals.FORBIDDEN, "forbids to link this number by a code"),
        (refusals.UNAVAILABLE, "gave no pairing code"),
    ],
    ids=str,
)
async def test_why_there_is_no_pairing_code(bench: Bench, refusal: QueryRefusal, says: str) -> None:
    attempt = await bench.begin()
    await attempt.qr()
    bench.whatsapp.refusals.pairing_codes[NUMBER] = refusal
    with pytest.raises(PairingUnavailable, match=says):
        await attempt.engine.pairing_code(NUMBER)
    bench.whatsapp.refusals.pairing_codes.clear()
    await bench.phone.enter_pairing_code((await attempt.engine.pairing_code(NUMBER)).pairing_code)
    await attempt.saw(LoggedIn)


Check = Callable[[Seen], bool]


@pytest.mark.parametrize(
    ("refusal", "is_right"),
    [
        (refusals.UNAUTHORIZED, lambda end: end == LinkRemoved()),
        (
            refusals.UNAUTHORIZED_WITH_WORDS,
            lambda end: (
                end
                == LinkRemoved("whatsapp", "You were logged out. Unofficial apps are not allowed.")
            ),
        ),
        (
            refusals.TEMPORARY_BAN,
            lambda end: isinstance(end, NumberRestricted) and end.until is not None,
        ),
        (
            refusals.LOCKED,
            lambda end: (
                end == NumberBanned("locked", "This account is locked. Open WhatsApp on the phone.")
            ),
        ),
        (refusals.OUTDATED, lambda end: isinstance(end, ClientOutdated)),
        (refusals.BANNED, lambda end: isinstance(end, NumberBanned) and end.reason == "banned"),
        (
            refusals.BAD_USER_AGENT,
            lambda end: isinstance(end, EngineCrashed) and "bad user agent" in end.message,
        ),
    ],
    ids=lambda one: "" if callable(one) else str(one),
)
async def test_what_a_linked_session_is_told(
    bench: Bench, refusal: LoginRefusal, is_right: Check
) -> None:
    session_id = SessionId(uuid4())
    attempt = await bench.begin(session_id)
    phone = bench.whatsapp.phone(str(session_id.int % 10**12 + 10**12))
    await phone.scan(await attempt.qr())
    await attempt.saw(LoggedIn)
    phone.refuse_login(refusal)
    await phone.drop()
    end = await attempt.ending()
    assert is_right(end), end
