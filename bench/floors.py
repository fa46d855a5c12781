"""The least that durable acceptance costs in Python: a bare table with one index, and what it takes to commit to it."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from .world import BODY

Row = tuple[str, str, int, int, float, float, str, str]

_TABLE = """
CREATE TABLE job (seq INTEGER PRIMARY KEY, id TEXT, chat TEXT, state INTEGER, prio INTEGER, due_at REAL,
  accepted_at REAL, method TEXT, params TEXT)"""
_INSERT = "INSERT INTO job (id, chat, state, prio, due_at, accepted_at, method, params) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class BareTable:
    """SQLite as durable as Kurir has it (WAL, synchronous = FULL), and nothing else."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(_TABLE)
        self.db.execute("CREATE INDEX job_due ON job (state, due_at)")

    def commit_one(self, row: Row) -> None:
        """One row, one durable commit."""
        self.db.execute(_INSERT, row)

    def commit(self, rows: Iterable[Row]) -> None:
        """Rows in one durable commit."""
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(_INSERT, rows)
        self.db.execute("COMMIT")

    def close(self) -> None:
        self.db.close()


def row(number: int) -> Row:
    """A row that says what Kurir's message says."""
    return (f"{number:024x}", str(number % 1000), 0, 2, 0.0, 1763800000.0, "sendMessage", BODY.decode())


class GroupCommit:
    """Callers await durability; one thread commits for all who came meanwhile."""

    def __init__(self, table: BareTable) -> None:
        self._table = table
        self._jobs: queue.SimpleQueue[tuple[Row, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    async def insert(self, row: Row) -> None:
        done = self._loop.create_future()
        self._jobs.put((row, done))
        await done

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            while not self._jobs.empty() and (more := self._jobs.get()) is not None:
                jobs.append(more)
            self._table.commit(row for row, _ in jobs)
            self._loop.call_soon_threadsafe(_resolve, [done for _, done in jobs])


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
