"""Is the process that holds a lease still there? Each holder keeps a lock on a small file of its own beside the database;
the kernel lets go of it the moment the process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path


class Liveness:
    """The lock files of the holders of one database."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._mine: dict[str, int] = {}

    def _file(self, holder: str) -> Path:
        name = hashlib.sha256(holder.encode()).hexdigest()[:16]
        return self._database.with_name(f"{self._database.name}-holder-{name}")

    def announce(self, holder: str) -> None:
        """Show that `holder` lives, until `close` or the end of this process."""
        if holder not in self._mine:
            fd = os.open(self._file(holder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._mine[holder] = fd

    def is_dead(self, holder: str) -> bool:
        """True when no process shows `holder` any more."""
        if holder in self._mine:
            return False
        file = self._file(holder)
        try:
            fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
            return True
        finally:
            os.close(fd)

    def close(self) -> None:
        for holder, fd in self._mine.items():
            with contextlib.suppress(FileNotFoundError):
                self._file(holder).unlink()
            os.close(fd)
        self._mine.clear()
