"""What Postgres or UTF-8 cannot hold in the engine's strings never reaches the store."""

import json
from dataclasses import dataclass

from wa_session_host.engine.protocol import decode_frame, encode_frame
from wa_session_host.engine.sanitising import sanitised


@dataclass(frozen=True)
class _Inner:
    names: tuple[str, ...]
    number: int = 5


@dataclass(frozen=True)
class _Outer:
    inner: _Inner
    words: dict[str, str | None]


def test_strings_are_replaced_at_any_depth() -> None:
    dirty = _Outer(_Inner(("a\x00", "\ud83d")), {"k\x00": "\x00", "n": None})
    assert sanitised(dirty) == _Outer(
        _Inner(("a\ufffd", "\ufffd")), {"k\ufffd": "\ufffd", "n": None}
    )


def test_a_clean_value_is_returned_itself() -> None:
    clean = _Outer(_Inner(("a", "\\u0000")), {"k": "v"})
    assert sanitised(clean) is clean


def test_a_frame_of_a_worker_is_clean() -> None:
    frame = {"type": "CallResult", "data": {"call": 1, "error": "Refused", "message": "x\x00y"}}
    decoded = decode_frame(json.dumps(frame).encode())
    assert getattr(decoded, "message") == "x\ufffdy"  # noqa: B009
    assert decode_frame(encode_frame(decoded)[4:]) == decoded
