"""Where the api listens, and what it keeps when nobody gives it keys."""

import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from wa_api.access.keys import load_encryption_key, load_keys
from wa_api.refusal import Refusal
from wa_api.serving.server import CannotListen, listen


def test_localhost_is_both_addresses_on_one_port() -> None:
    sockets = listen("localhost", 0)
    try:
        names = [bound.getsockname()[:2] for bound in sockets]
        port = names[0][1]
        assert ("127.0.0.1", port) in names
        if socket.has_ipv6:
            assert ("::1", port) in names
    finally:
        for bound in sockets:
            bound.close()


def test_a_taken_port_is_said_clearly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"Cannot listen on 127.0.0.1:{port}"):
            listen("localhost", port)


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    first = load_keys(tmp_path / "data", admin=None, encryption=None)
    again = load_keys(tmp_path / "data", admin=None, encryption=None)
    assert first == again
    assert first.admin_made_here
    assert first.admin != first.encryption
    for kept in (tmp_path / "data").iterdir():
        assert kept.stat().st_mode & 0o077 == 0


def test_short_keys_are_refused(tmp_path: Path) -> None:
    """In every process that takes them; a former key may be short, to be rotated away."""
    short, long = SecretStr("x" * 31), SecretStr("x" * 32)
    with pytest.raises(Refusal, match="ADMIN_KEY has fewer than 32 characters"):
        load_keys(tmp_path, admin=short, encryption=long)
    with pytest.raises(Refusal, match="TOKEN_ENCRYPTION_KEY has fewer than 32 characters"):
        load_encryption_key(tmp_path, given=short)
    assert load_keys(tmp_path, admin=long, encryption=long).encryption == long
