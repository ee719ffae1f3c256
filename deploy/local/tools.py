"""Programs used by the tests only: a browser, node and curl."""

import shutil
import sys

from deploy.servers import debian

# Program → Debian package.
_WANTED = {
    "chromium-headless-shell": "chromium-headless-shell",
    "node": "nodejs",
    "curl": "curl",
}


def found() -> dict[str, str]:
    """The path of each program, or "not installed"."""
    return {name: shutil.which(name) or "not installed" for name in _WANTED}


def install_missing() -> int:
    """Install missing programs as root; otherwise print which tests will be skipped."""
    missing = [name for name in _WANTED if shutil.which(name) is None]
    if not missing:
        return 0
    packages = [_WANTED[name] for name in missing]
    if not (debian.has_apt() and debian.is_root()):
        print(
            f"Without {', '.join(missing)} the tests that need them are skipped; to run them: "
            f"sudo apt-get install {' '.join(packages)}",
            file=sys.stderr,
        )
        return 0
    print(f"Installing {', '.join(packages)} for the tests (once) …", flush=True)
    try:
        debian.install(*packages)
    except debian.PackageUnavailable as error:
        print(f"{error}\nThe tests that need them are skipped.", file=sys.stderr)
    return 0
