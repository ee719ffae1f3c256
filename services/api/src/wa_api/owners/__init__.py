"""Commands to the session-hosts, and their replies."""
