"""The event feed and its Server-Sent Events."""
