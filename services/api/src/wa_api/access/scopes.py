"""What an API key may do."""

from collections.abc import Mapping
from enum import StrEnum


class Scope(StrEnum):
    """A right of an API key. `ADMIN_KEY` and a signed-in browser have all."""

    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    TOKENS_READ = "tokens:read"
    MESSAGES_SEND = "messages:send"
    MESSAGES_READ = "messages:read"
    EVENTS_READ = "events:read"
    WEBHOOKS_WRITE = "webhooks:write"
    KEYS_WRITE = "keys:write"


MEANINGS: Mapping[Scope, str] = {
    Scope.SESSIONS_READ: "list sessions, see their state",
    Scope.SESSIONS_WRITE: "open, link, change, stop and delete sessions",
    Scope.TOKENS_READ: "see session tokens; with sessions:write rotate them",
    Scope.MESSAGES_SEND: "send, edit, cancel; upload files; check numbers; see groups",
    Scope.MESSAGES_READ: "look messages up, with their media; see groups",
    Scope.EVENTS_READ: "follow events",
    Scope.WEBHOOKS_WRITE: "manage webhooks, which receive events",
    Scope.KEYS_WRITE: "manage API keys with no more rights than its own",
}
"""In words."""
