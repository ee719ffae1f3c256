"""Which rights are no more than others."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from wa_api.access.api_keys import Rights
from wa_api.access.scopes import MEANINGS, Scope

ONE, TWO = UUID(int=1), UUID(int=2)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SEND, READ = Scope.MESSAGES_SEND, Scope.MESSAGES_READ


def rights(
    *scopes: Scope, sessions: set[UUID] | None = None, until: datetime | None = None
) -> Rights:
    """The rights of a key."""
    return Rights(frozenset(scopes), None if sessions is None else frozenset(sessions), until)


ENOUGH = {
    "the same": (rights(SEND), rights(SEND)),
    "fewer scopes": (rights(SEND, READ), rights(READ)),
    "some sessions of all": (rights(SEND), rights(SEND, sessions={ONE})),
    "fewer sessions": (rights(SEND, sessions={ONE, TWO}), rights(SEND, sessions={TWO})),
    "an end": (rights(SEND), rights(SEND, until=NOON)),
    "an earlier end": (rights(SEND, until=NOON), rights(SEND, until=NOON - timedelta(1))),
}
TOO_FEW = {
    "more scopes": (rights(SEND), rights(SEND, READ)),
    "other scopes": (rights(SEND), rights(READ)),
    "all sessions": (rights(SEND, sessions={ONE}), rights(SEND)),
    "other sessions": (rights(SEND, sessions={ONE}), rights(SEND, sessions={ONE, TWO})),
    "no end": (rights(SEND, until=NOON), rights(SEND)),
    "a later end": (rights(SEND, until=NOON), rights(SEND, until=NOON + timedelta(1))),
}


@pytest.mark.parametrize("case", ENOUGH)
def test_rights_cover_no_more_than_themselves(case: str) -> None:
    have, asked = ENOUGH[case]
    assert have.covers(asked)


@pytest.mark.parametrize("case", TOO_FEW)
def test_rights_do_not_cover_more(case: str) -> None:
    have, asked = TOO_FEW[case]
    assert not have.covers(asked)


def test_every_scope_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Scope)
