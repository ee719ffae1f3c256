"""Headers of the user's own, sent with each request of an endpoint."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from wa_api.http.models import Text

COUNT_LIMIT = 20
VALUE_LIMIT = 2_048
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_OURS = frozenset(
    {
        *("host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-type", "content-length", "content-encoding", "expect", "cookie"),
    }
)
_OUR_PREFIXES = ("webhook-", "wa-", "proxy-")


def _checked(headers: dict[str, str]) -> dict[str, str]:
    """Never repeats a value in its error: it may be secret."""
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("names the same header twice")
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError("has a name that is not one of a header")
        if name.lower() in _OURS or name.lower().startswith(_OUR_PREFIXES):
            raise ValueError(f"must not have {name}, which the gateway sets")
        if not _VALUE.fullmatch(value) or len(value) > VALUE_LIMIT:
            raise ValueError(
                f"must have 1 to {VALUE_LIMIT:,} visible ASCII characters as the value of {name}"
            )
    return headers


Headers = Annotated[
    dict[Text, Text],
    AfterValidator(_checked),
    Field(
        max_length=COUNT_LIMIT,
        description="Headers of your own, sent with each request. Their values are stored "
        "encrypted and never shown again.",
        examples=[{"Authorization": "Bearer of-your-endpoint"}],
    ),
]


def names_of(headers: Mapping[str, str] | None) -> list[str]:
    """What an answer shows of them."""
    return sorted(headers or ())
