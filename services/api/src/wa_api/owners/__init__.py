"""Commands to session-hosts, and their replies."""
