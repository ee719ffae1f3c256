"""The two keys of an installation, from the environment or generated in DATA_DIR."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from wa_api.refusal import Refusal

SHORTEST = 32
"""Characters of a key."""


@dataclass(frozen=True)
class Keys:
    """`admin` is for sign-in. `encryption` seals tokens and webhook secrets.

    `admin_made_here` is True if the admin key was generated, so that the login link is printed.
    """

    admin: SecretStr
    encryption: SecretStr
    admin_made_here: bool


def load_keys(data_dir: Path, *, admin: SecretStr | None, encryption: SecretStr | None) -> Keys:
    """Return the given keys, or those in `data_dir`, generated on first start.

    Raises:
        OSError: A key is not given and `data_dir` cannot be read or written.
        Refusal: A key is too short to resist guesses.
    """
    return Keys(
        admin=_checked("ADMIN_KEY", admin) or _load_or_generate(data_dir / "admin.key"),
        encryption=load_encryption_key(data_dir, given=encryption),
        admin_made_here=admin is None,
    )


def load_encryption_key(data_dir: Path, *, given: SecretStr | None) -> SecretStr:
    """The encryption key alone, for a process without sign-in.

    Raises:
        OSError, Refusal: See `load_keys`.
    """
    return _checked("TOKEN_ENCRYPTION_KEY", given) or _load_or_generate(
        data_dir / "token-encryption.key"
    )


def _checked(name: str, key: SecretStr | None) -> SecretStr | None:
    if key is not None and len(key.get_secret_value()) < SHORTEST:
        raise Refusal(
            f"{name} has fewer than {SHORTEST} characters and could be guessed. Make a new one, for "
            "example with: openssl rand -hex 32"
        )
    return key


def derive(secret: SecretStr, purpose: str) -> bytes:
    """Derive 32 bytes for one purpose. Source: RFC 5869 (HKDF)."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode())
    return kdf.derive(secret.get_secret_value().encode())


def _load_or_generate(path: Path) -> SecretStr:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        fresh.touch(mode=0o600, exist_ok=False)
        fresh.write_text(secrets.token_urlsafe(32) + "\n")
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            pass  # another process was first: its key is used
        finally:
            fresh.unlink()
    return SecretStr(path.read_text().strip())
