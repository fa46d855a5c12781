"""Connections that read, each with a thread of its own: what is long must not hold up what is short."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kurir.core.errors import StoreError
from kurir.ports import LaneQuery, Query

from .writer import connect, translate

T = TypeVar("T")

LONGEST = 10.0  # seconds a search may take
LOOK_EVERY = 20_000  # steps of SQLite's machine between two looks at the time: some milliseconds


class Reader:
    """One read after the other. `inline`: in the calling thread. `longest`: seconds after which one is given up."""

    def __init__(self, path: Path, name: str, *, inline: bool, longest: float | None = None) -> None:
        self._path = path
        self._db = connect(path, read_only=True)
        self._pool = None if inline else ThreadPoolExecutor(1, thread_name_prefix=name)
        self._longest = longest
        self._until = 0.0
        if longest is not None:
            self._db.set_progress_handler(self._is_over, LOOK_EVERY)

    def _is_over(self) -> bool:
        return time.monotonic() > self._until

    def _timed(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._until = time.monotonic() + (self._longest or 0.0)
        return work(self._db)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Raises StoreError, also when it takes too long; InvalidMessage for a number that fits into no column."""
        try:
            if self._pool is None:
                return self._timed(work)
            try:
                reading = asyncio.get_running_loop().run_in_executor(self._pool, self._timed, work)
            except RuntimeError:  # the interpreter is shutting down: no thread takes work any more
                return self._timed(work)
            return await reading
        except (sqlite3.Error, OverflowError) as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise StoreError(
                    f"the search was given up after {self._longest:g} s",
                    "Narrow it: by ids, by chat, by bot and key, or by state.",
                ) from None
            raise translate(error, self._path) from None

    def close(self) -> None:
        """Blocks until what is being read has been."""
        if self._pool is not None:
            self._pool.shutdown()
        self._db.close()


async def in_thread(work: Callable[[], None], *, inline: bool) -> None:
    """Do what blocks beside the event loop. `inline`: in the calling thread."""
    if inline:
        work()
        return
    try:
        working = asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:  # the interpreter is shutting down: no thread takes work any more
        work()
        return
    await working


def is_short(query: Query | LaneQuery) -> bool:
    """It goes straight to a few rows; anything else may have to look at every one."""
    if isinstance(query, LaneQuery):
        return query.chat is not None
    return bool(query.ids or query.seqs or (query.bot is not None and query.key is not None))
