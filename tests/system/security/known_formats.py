"""What Schemathesis has to know beyond the document: a format, free headers, and which failures are right."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import schemathesis
from hypothesis import strategies as st

from wa_api.http.paging import Place

schemathesis.openapi.format(
    "cursor",
    st.builds(
        lambda at, of: Place(at, of).cursor(), st.datetimes(timezones=st.just(UTC)), st.uuids()
    ),
)

schemathesis.openapi.format(
    "date-time",  # only `sendAt` is one
    st.integers(1, 20).map(lambda days: (datetime.now(UTC) + timedelta(days=days)).isoformat()),
)


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: "schemathesis.Case[Any]") -> bool:
    """Whether a case is of use: no server refuses a request because of a header unknown to it."""
    return "x-schemathesis-unknown-property" not in (case.headers or {})


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: "schemathesis.Case[Any]", kwargs: dict[str, Any]
) -> None:
    """Come from another address each time: wrong keys count by address, and are 429 in the end."""
    number = next(_addresses)
    case.headers["X-Forwarded-For"] = f"2001:db8::{number:x}"


_addresses = count(1)

SEND = "POST /api/messages/send"
FAILURES_OF_OTHERS = {"not_on_whatsapp", "media_unavailable", "send_failed", "outcome_unknown"}
"""What a send answers with 500 although nothing is wrong here; a repeat of it does so at once."""


@schemathesis.check
def no_failure_of_ours(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: "schemathesis.Case[Any]"
) -> None:
    """In place of `not_a_server_error`, which knows no exception."""
    if response.status_code >= 500:
        assert case.operation.label == SEND, response.text
        assert response.json()["code"] in FAILURES_OF_OTHERS, response.text
