"""What Schemathesis has to know beyond the document: a format of ours, and that headers are free."""

from datetime import UTC
from typing import Any

import schemathesis
from hypothesis import strategies as st

from wa_api.paging import Place

schemathesis.openapi.format(
    "cursor",
    st.builds(
        lambda at, of: Place(at, of).cursor(), st.datetimes(timezones=st.just(UTC)), st.uuids()
    ),
)


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: "schemathesis.Case[Any]") -> bool:
    """Whether a case is of use: no server refuses a request because of a header unknown to it."""
    return "x-schemathesis-unknown-property" not in (case.headers or {})
