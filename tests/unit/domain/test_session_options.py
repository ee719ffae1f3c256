"""Changes of a session's options."""

from typing import Any

import pytest

from wa_contracts.internal.session_changes import ReceiveChanges, SessionChanges
from wa_contracts.session_events import SessionUpdated
from wa_contracts.session_options import PacingLimits, Presence, Receive
from wa_session_host.domain.session_options import SessionProxySet, change

BEFORE = SessionUpdated(
    name="Sales",
    metadata={"customer": "4711"},
    receive=Receive(stories=True),
    proxy="http://proxy.example.com:8080",
    pacing=PacingLimits(per_minute=6),
)
PROXY = "http://user:password@proxy.example.com:8080"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "Support"}, {"name": "Support"}),
        ({"cleared": ("name",)}, {"name": None}),
        ({"metadata": {}}, {"metadata": {}}),
        (
            {"receive": ReceiveChanges(groups=False)},
            {"receive": Receive(stories=True, groups=False)},
        ),
        ({"device_name": "Shop"}, {"device_name": "Shop"}),
        ({"presence": Presence.AVAILABLE}, {"presence": Presence.AVAILABLE}),
        ({"keep_media": True}, {"keep_media": True}),
        ({"pacing": PacingLimits(per_day=5)}, {"pacing": PacingLimits(per_day=5)}),
        ({"cleared": ("pacing",)}, {"pacing": None}),
    ],
    ids=str,
)
def test_a_change_leaves_everything_else(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert change(BEFORE, PROXY, SessionChanges(**changes)) == (BEFORE.model_copy(update=expected),)


@pytest.mark.parametrize("changes", [{}, {"name": "Sales"}, {"proxy": PROXY}], ids=str)
def test_what_is_so_already_is_no_event(changes: dict[str, Any]) -> None:
    assert change(BEFORE, PROXY, SessionChanges(**changes)) == ()


@pytest.mark.parametrize("password", ["other", "with@sign"])
def test_a_proxys_password_is_in_no_published_event(password: str) -> None:
    proxy = f"http://user:{password}@proxy.example.com:8080"
    updated, private = change(BEFORE, PROXY, SessionChanges(proxy=proxy))
    assert updated == BEFORE
    assert private == SessionProxySet(proxy=proxy)


def test_a_proxy_can_be_taken_away() -> None:
    updated, private = change(BEFORE, PROXY, SessionChanges(cleared=("proxy",)))
    assert updated == BEFORE.model_copy(update={"proxy": None})
    assert private == SessionProxySet(proxy=None)
