"""RabbitMQ of another Debian suite, in a folder of its own. For tests: RABBITMQ_SUITE names it.

`bookworm` has RabbitMQ 3.10, `trixie` 4.0, `forky` 4.3. Needs root: the node runs in a chroot, in a
mount namespace that ends with it.
"""

import shlex
import shutil
import subprocess
from pathlib import Path

from deploy.servers import debian

_PROGRAMS = {
    "rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "rabbitmqctl": "/usr/lib/rabbitmq/bin/rabbitmqctl",
    "epmd": "/usr/lib/erlang/bin/epmd",
    "erl_call": "/usr/lib/erlang/bin/erl_call",
}
_SCRIPT = "/usr/share/debootstrap/scripts/sid"
"""That of every newer suite; debootstrap has none by the name of a suite that came after it."""
_RUN = """\
#!/bin/sh
# HOME is the node's directory. The mounts are this process's own.
export ROOT={root}
exec unshare --mount sh -c '
  set -e
  mkdir -p "$ROOT$HOME"
  mount -t proc proc "$ROOT/proc"
  mount --rbind /dev "$ROOT/dev"
  mount --bind /tmp "$ROOT/tmp"
  case "$HOME" in /tmp/*) ;; *) mount --bind "$HOME" "$ROOT$HOME" ;; esac
  exec chroot "$ROOT" "$@"' sh {program} "$@"
"""


def found(root: Path) -> Path | None:
    """The folder of the programs, if they are installed."""
    programs = root / "programs"
    return programs if programs.exists() else None


def make(suite: str, root: Path) -> None:
    """Install the suite's RabbitMQ below `root`.

    Raises:
        PackageUnavailable: not root, or Debian's tools failed. The message says which.
    """
    if not debian.is_root():
        raise debian.PackageUnavailable(f"RABBITMQ_SUITE={suite} needs root")
    if shutil.which("debootstrap") is None:
        debian.install("debootstrap")
    system = root / "system"
    shutil.rmtree(root, ignore_errors=True)
    system.mkdir(parents=True)
    done = subprocess.run(
        [
            *("debootstrap", "--variant=minbase", "--include=rabbitmq-server"),
            *(suite, str(system), debian.mirror(), _SCRIPT),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise debian.PackageUnavailable(f"debootstrap failed: {done.stdout[-600:]}")
    (system / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    draft = root / "programs.new"
    draft.mkdir()
    for name, program in _PROGRAMS.items():
        script = draft / name
        script.write_text(_RUN.format(program=program, root=shlex.quote(str(system))))
        script.chmod(0o755)
    draft.rename(root / "programs")
