"""Errors that end a command with a sentence."""


class Refusal(Exception):
    """The command cannot be done. The text says why and what to do."""
