"""The path below which a request was served: BASE_PATH, or nothing."""

from collections.abc import MutableMapping
from typing import Any

SCOPE_KEY = "wa_api.base_path"


def base_path_of(scope: MutableMapping[str, Any]) -> str:
    """Goes before every absolute path in an answer, except in Location, which gets it by itself."""
    base: str = scope.get(SCOPE_KEY, "")
    return base
