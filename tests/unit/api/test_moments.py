"""Times in requests: with a zone, in UTC, and never outside of what a database holds."""

import pytest
from pydantic import TypeAdapter, ValidationError

from wa_api.http.models import Moment
from wa_api.messages.send_request import SendRequest

MOMENTS: TypeAdapter[object] = TypeAdapter(Moment)


def test_a_time_is_kept_in_utc() -> None:
    assert str(MOMENTS.validate_python("2026-01-02T15:04:05+02:00")) == "2026-01-02 13:04:05+00:00"


@pytest.mark.parametrize(
    "given",
    ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-01-02T15:04:05", "tomorrow"],
)
def test_a_time_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        MOMENTS.validate_python(given)


def test_a_send_in_a_year_that_is_none_is_refused() -> None:
    body = {"to": "919876543210", "type": "text", "message": "hello"}
    with pytest.raises(ValidationError, match="years 1 to 9999"):
        SendRequest.model_validate({**body, "sendAt": "9999-12-31T23:59:59-14:00"})
