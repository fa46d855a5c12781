"""Ends what a test process left behind, however that process ended: SIGKILL included.

`python guard.py` reads lines from a pipe that only its owner holds open: `folder PATH`, `file PATH`, `process PID`,
`gone PID`. When the pipe closes it kills the processes (and the children they had), and removes the folders and files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


class Guard:
    """The owner's end of the pipe. One a test process is enough."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__], stdin=subprocess.PIPE, start_new_session=True, text=True
        )

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Returns when everything is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def children(pid: int) -> list[int]:
    """The living processes whose parent is `pid`."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == pid]


def alive(pid: int) -> bool:
    """Does it run still? One that nobody has waited for yet does not."""
    return _parent(Path("/proc", str(pid))) is not None


def _parent(process: Path) -> int | None:
    try:
        state, parent = (process / "stat").read_text().rsplit(")", 1)[1].split()[:2]
    except OSError:  # it ended meanwhile
        return None
    return None if state in "ZX" else int(parent)


def kill(pid: int, seconds: float = 10.0) -> None:
    """SIGKILL to a process and its children; returns when none of them runs."""
    family = [pid, *children(pid)]
    for one in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    end = time.monotonic() + seconds
    while any(map(alive, family)) and time.monotonic() < end:
        time.sleep(0.005)


def main() -> None:
    processes: list[int] = []
    folders: list[str] = []
    files: list[str] = []
    for line in sys.stdin:
        what, _, about = line.rstrip("\n").partition(" ")
        if what == "folder":
            folders.append(about)
        elif what == "file":
            files.append(about)
        elif what == "process":
            processes.append(int(about))
        elif int(about) in processes:
            processes.remove(int(about))
    for pid in processes:
        if alive(pid):
            kill(pid)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for file in files:
        Path(file).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
