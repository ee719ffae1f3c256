"""A host's spool is empty at its start, and what ended hosts left is deleted."""

import os
import subprocess
import sys
from pathlib import Path

from wa_session_host.media import spool as spool_module
from wa_session_host.media.spool import own_spool

HOLD = """
import sys, pathlib
from wa_session_host.media.spool import own_spool
with own_spool(pathlib.Path(sys.argv[1]), sys.argv[2]) as folder:
    (folder / "media").write_text("under way")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_host_left_is_deleted_and_a_running_ones_stays(tmp_path: Path) -> None:
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("killed", "running")
    ]
    try:
        for host in hosts:
            assert host.stdout is not None
            assert host.stdout.readline() == b"ready\n"
        hosts[0].kill()
        hosts[0].wait(30)
        assert (tmp_path / "killed" / "media").exists()
        with own_spool(tmp_path, "own") as folder:
            assert sorted(one.name for one in tmp_path.iterdir()) == ["own", "running"]
            assert (tmp_path / "running" / "media").read_text() == "under way"
            (folder / "media").touch()
        assert [one.name for one in tmp_path.iterdir()] == ["running"]
    finally:
        for host in hosts:
            host.kill()
            host.communicate()


def test_a_restarted_host_of_the_same_name_begins_empty(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "media").touch()
    with own_spool(tmp_path, "host") as folder:
        assert list(folder.iterdir()) == []


def test_old_loose_files_are_deleted(tmp_path: Path) -> None:
    old, young = tmp_path / "tmp1", tmp_path / "tmp2"
    old.touch()
    young.touch()
    os.utime(old, (0, young.stat().st_mtime - spool_module.LOOSE_FILE_SECONDS - 1))
    with own_spool(tmp_path, "host"):
        assert not old.exists()
        assert young.exists()
