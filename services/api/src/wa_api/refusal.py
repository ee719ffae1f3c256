"""What ends a command of this program with a sentence of its own."""


class Refusal(Exception):
    """It cannot be done; the text says why, and what to do."""
