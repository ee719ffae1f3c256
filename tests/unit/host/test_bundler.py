"""Events of about one moment reach the projector in one message, in their order, each with its trace."""

import asyncio
from typing import Any

import pytest

from tests.deadlines import eventually
from wa_contracts.codec import decode_bundle
from wa_contracts.internal.bundle import BUNDLE
from wa_contracts.topology import BUNDLES
from wa_runtime.channel_writer import Confirm, Properties
from wa_runtime.connection_loss import BrokerConnectionLost
from wa_session_host.publishing import bundler
from wa_session_host.publishing.bundler import Bundler

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class _Writer:
    """Keeps what is published; the test ends the confirms."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.confirms: list[Confirm] = []

    def publish(self, body: bytes, properties: Properties, *, exchange: str, key: str) -> Confirm:
        assert (properties.message_type, exchange, key) == (BUNDLE, BUNDLES, "")
        assert properties.delivery_mode == 2
        self.bodies.append(body)
        self.confirms.append(asyncio.get_running_loop().create_future())
        return self.confirms[-1]

    def sequences(self) -> list[list[int]]:
        """Of each bundle, the sequences that precede its events."""
        return [[one.predecessor for one in decode_bundle(body)] for body in self.bodies]


@pytest.fixture
def writer() -> Any:
    return _Writer()


async def test_what_comes_in_one_turn_or_soon_after_a_bundle_is_one_bundle(
    writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundler, "GATHER_SECONDS", 0.2)
    made = Bundler(writer)
    first = [made.add(n, b'{"n":%d}' % n, TRACE if n == 1 else None) for n in range(3)]
    await eventually(lambda: len(writer.bodies) == 1, what="the first bundle")
    second = made.add(3, b"{}", None)
    await asyncio.sleep(0)
    assert made.add(4, b"{}", None) is second
    assert len(writer.bodies) == 1
    await eventually(lambda: len(writer.bodies) == 2, what="the next bundle")
    assert writer.sequences() == [[0, 1, 2], [3, 4]]
    assert [one.json for one in decode_bundle(writer.bodies[0])] == [
        f'{{"n":{n}}}' for n in range(3)
    ]
    assert [one.traceparent for one in decode_bundle(writer.bodies[0])] == [None, TRACE, None]
    writer.confirms[0].set_result(None)
    await asyncio.gather(*first)
    assert not second.done()
    writer.confirms[1].set_exception(BrokerConnectionLost())
    with pytest.raises(BrokerConnectionLost):
        await second


async def test_a_bundle_has_a_size(writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundler, "BUNDLE_EVENTS", 3)
    monkeypatch.setattr(bundler, "BUNDLE_BYTES", 100)
    made = Bundler(writer)
    for n in range(4):
        made.add(n, b"{}", None)
    made.add(4, b'"%b"' % (b"x" * 100), None)
    made.add(5, b"{}", None)
    await eventually(lambda: len(writer.bodies) == 3, what="the rest")
    assert writer.sequences() == [[0, 1, 2], [3, 4], [5]]
