"""The feed of past and present events, and its Server-Sent Events."""
