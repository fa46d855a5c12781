"""One connection writes. Steps handed over while a commit is on its way share the next one (group commit)."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kurir.core.errors import KurirError, StoreAway, StoreFull
from kurir.stores.codec import too_large
from kurir.stores.commits import Commits

from .submit import Submit, submit_together
from .transaction import Transaction

T = TypeVar("T")
Step = Callable[[Transaction], Any]
_Job = tuple[Step, "asyncio.Future[Any] | None", "asyncio.AbstractEventLoop | None"]

BUSY_TIMEOUT = 10.0  # seconds to wait for another process's transaction
BATCH_STEPS = 1000  # steps in one transaction at most
DRAFTS_TOGETHER = 1000  # of several submits that are carried out as one, at most
BATCH_SECONDS = 0.02  # a transaction takes no further step after this


def connect(path: Path | str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection as every part of the store needs it: WAL, flushed at each commit, manual transactions."""
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA cache_size = -16000")  # KiB
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA wal_autocheckpoint = 2000")  # pages
    db.execute("PRAGMA journal_size_limit = 33554432")  # bytes
    if read_only:
        db.execute("PRAGMA query_only = ON")
    return db


def translate(error: sqlite3.Error | OverflowError, path: Path | str) -> KurirError:
    """SQLite's error as ours, with what to do."""
    if isinstance(error, OverflowError):
        return too_large()
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    full = code == sqlite3.SQLITE_FULL or (
        code == sqlite3.SQLITE_IOERR and "IOERR_WRITE" in getattr(error, "sqlite_errorname", "")
    )
    if full:
        return StoreFull(f"no room left for {path}: {error}", "Free disk space; everything accepted is kept.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreAway(f"{path} stayed locked for {BUSY_TIMEOUT:g} s", "See who holds it: `lsof` on the file.")
    return StoreAway(f"{path}: {error}", "Run `kurir doctor`.")


def _busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


class Writer:
    """Runs steps in order, each whole or not at all; a step's future resolves when it is on disk.

    A step that raises `KurirError` must have written nothing before. `inline` runs every step at once in the calling
    thread, in a transaction of its own: for simulations that must replay exactly.
    """

    def __init__(self, path: Path | str, *, inline: bool = False) -> None:
        self.path = path
        self.db = connect(path)
        self._inline = inline
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lost = False  # the connection is no good any more: the next transaction makes a new one
        self._closed = False
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        self.commits = Commits()
        if not inline:
            self._thread = threading.Thread(target=self._loop, name="kurir-writer", daemon=True)
            self._thread.start()
            atexit.register(self.close)  # a process that just ends still writes what it was given

    async def run(self, step: Callable[[Transaction], T]) -> T:
        """Do one step; when this returns, it is durable. The step is carried out even if the caller is cancelled."""
        if self._closed:
            raise StoreAway(f"{self.path} is closed", "Use Kurir inside its `async with`.")
        if os.getpid() != self._pid:  # SQLite must not be carried over a fork
            raise StoreAway(f"{self.path} was opened before a fork", "Open Kurir in the child, or use BlockingKurir.")
        if self._inline:
            (result,) = self._transact([step])
            if isinstance(result, BaseException):
                raise result
            return result  # type: ignore[no-any-return]
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((step, future, loop))
        return await future

    def close(self) -> None:
        """Carry out what was handed over, then close. Blocks."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        if self._thread:
            self._jobs.put(None)
            self._thread.join()
            atexit.unregister(self.close)
        self.db.close()

    # ---------------------------------------------------------------- the thread

    def _loop(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                break
            jobs = [job]
            last = self._gather(jobs)
            try:
                results = self._transact([step for step, _, _ in jobs])
            except Exception as error:  # the connection is gone and no new one is to be had: the next batch tries again
                away = StoreAway(f"{self.path}: {error}", "Run `kurir doctor`.")
                results = [away] * len(jobs)
            _deliver(jobs, results)
            if last:
                break
        with contextlib.suppress(queue.Empty):
            while (late := self._jobs.get_nowait()) is not None:
                _deliver([late], [StoreAway(f"{self.path} is closed", "Use Kurir inside its `async with`.")])

    def _gather(self, jobs: list[_Job]) -> bool:
        """Take what else is waiting; True when the end of all work was among it."""
        try:
            while len(jobs) < BATCH_STEPS:
                job = self._jobs.get_nowait()
                if job is None:
                    return True
                jobs.append(job)
        except queue.Empty:
            pass
        return False

    def _transact(self, steps: list[Step]) -> list[Any]:
        """The steps' results, in order; exceptions stand in for the results of those that failed."""
        results: list[Any] = []
        while len(results) < len(steps):
            results += self._one_transaction(steps[len(results) :])
        return results

    def _one_transaction(self, steps: list[Step]) -> list[Any]:
        results: list[Any] = []
        try:
            if self._lost:
                self.db, self._lost = connect(self.path), False
            db = self.db
            db.execute("BEGIN IMMEDIATE")
            started, changes = time.perf_counter(), db.total_changes
            tx = Transaction(db)
            for run in _runs(steps):
                if len(run) > 1:
                    results += submit_together(tx, run)
                else:
                    try:
                        results.append(run[0](tx))
                    except KurirError as error:
                        results.append(error)
                if time.perf_counter() - started > BATCH_SECONDS:
                    break
            tx.finish()
            committing = time.perf_counter()
            db.execute("COMMIT")
            if db.total_changes != changes:
                self.commits.took(time.perf_counter() - committing)
        except Exception as error:
            self._roll_back()
            if len(steps) == 1 and isinstance(error, sqlite3.IntegrityError) and (again := _again(steps[0])):
                return self._one_transaction([again])
            failed = translate(error, self.path) if isinstance(error, sqlite3.Error | OverflowError) else error
            if len(steps) == 1 or _busy(error):
                return [failed] * len(steps)
            return [self._one_transaction([step])[0] for step in steps]
        return results

    def _roll_back(self) -> None:
        try:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        except sqlite3.Error:
            self._lost = True
            with contextlib.suppress(sqlite3.Error):
                self.db.close()


def _again(step: Step) -> Submit | None:
    """A submit that met an id of its own: the same one, with its eyes open."""
    return Submit(step.drafts, step.now, again=True) if isinstance(step, Submit) and not step.again else None


def _runs(steps: list[Step]) -> Iterator[list[Any]]:
    """Steps that can be carried out as one, neighbours all; most stand alone."""
    together: list[Submit] = []
    drafts = 0
    for step in steps:
        if isinstance(step, Submit) and step.simple and (not together or drafts + len(step.drafts) <= DRAFTS_TOGETHER):
            drafts = len(step.drafts) + (drafts if together else 0)
            together.append(step)
            continue
        if together:
            yield together
            together = []
        if isinstance(step, Submit) and step.simple:
            together, drafts = [step], len(step.drafts)
        else:
            yield [step]
    if together:
        yield together


def _deliver(jobs: list[_Job], results: list[Any]) -> None:
    """Resolve the futures, one wake-up an event loop. A loop that is gone misses only the answer."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for (_, future, loop), result in zip(jobs, results, strict=True):
        if future is not None and loop is not None:
            by_loop.setdefault(loop, []).append((future, result))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, answers)
        except RuntimeError:  # the loop was closed: the step is durable all the same
            continue


def _resolve(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in answers:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
