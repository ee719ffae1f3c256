"""The two keys of an installation: given by the environment, or made once and kept in DATA_DIR."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr


@dataclass(frozen=True)
class Keys:
    """`admin` is what the operator signs in with; `encryption` keeps tokens showable.

    `admin_made_here` says that nobody gave an admin key, so that the log-in link is worth printing.
    """

    admin: SecretStr
    encryption: SecretStr
    admin_made_here: bool


def load_keys(data_dir: Path, *, admin: SecretStr | None, encryption: SecretStr | None) -> Keys:
    """The given keys, or those in `data_dir`, made there at the first start.

    Raises:
        OSError: a key is neither given nor can it be read from or written to `data_dir`.
    """
    return Keys(
        admin=admin or _kept(data_dir / "admin.key"),
        encryption=load_encryption_key(data_dir, given=encryption),
        admin_made_here=admin is None,
    )


def load_encryption_key(data_dir: Path, *, given: SecretStr | None) -> SecretStr:
    """The one key of a process that signs nobody in.

    Raises:
        OSError: as `load_keys`.
    """
    return given or _kept(data_dir / "token-encryption.key")


def derive(secret: SecretStr, purpose: str) -> bytes:
    """32 bytes for one purpose. Source: RFC 5869."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode())
    return kdf.derive(secret.get_secret_value().encode())


def _kept(path: Path) -> SecretStr:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        fresh.touch(mode=0o600, exist_ok=False)
        fresh.write_text(secrets.token_urlsafe(32) + "\n")
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            pass  # another process was first: its key holds
        finally:
            fresh.unlink()
    return SecretStr(path.read_text().strip())
