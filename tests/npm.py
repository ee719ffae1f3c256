"""Packages of npm that tests need, installed from a lock file and kept from run to run."""

import hashlib
import shutil
import subprocess
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache" / "npm"
SECONDS = 150


def installed(project: Path) -> Path:
    """A folder with the project's files and its `node_modules`.

    `project` has a package.json and a package-lock.json. AssertionError with what npm printed if
    it failed.
    """
    assert shutil.which("npm"), "npm is not installed; on Debian: sudo apt-get install npm"
    lock = (project / "package-lock.json").read_bytes()
    folder = CACHE / f"{project.name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in project.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    if not (folder / "node_modules" / ".package-lock.json").exists():
        npm = ("npm", "ci", "--no-audit", "--no-fund", "--cache", str(CACHE / "downloads"))
        done = subprocess.run(
            npm, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, (
            f"npm could not install {project.name}. Is a package registry reachable from here? "
            f"It said:\n{done.stdout}{done.stderr}"
        )
    return folder
