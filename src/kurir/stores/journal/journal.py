"""A local SQLite file that keeps what is accepted while the store is away, in order, until the store has it.

As durable as the SQLite store: the same connections, the same writer with group commit. Any number of processes of one
machine may share the file; all of them write to it, and one at a time forwards (`forwarding`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kurir.core.errors import KeyConflict, StoreAway, StoreFull
from kurir.core.message import Accepted, Draft, Priority, Record, State
from kurir.stores.codec import (
    dump_files,
    dump_metadata,
    dump_options,
    load_files,
    load_metadata,
    load_options,
)
from kurir.stores.named import statements
from kurir.stores.sqlite.reader import Reader, in_thread
from kurir.stores.sqlite.store import migrate
from kurir.stores.sqlite.transaction import Transaction
from kurir.stores.sqlite.writer import Writer, connect, translate

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows: each process forwards; the store knows what it has)
    fcntl = None  # type: ignore[assignment]

Q = statements(__package__, "queries.sql")
LIMIT = 1 << 30  # bytes
OVERHEAD = 400  # bytes a message takes beside its parameters, about
REASON = "spooled: it goes to the store when that is back"


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in the journal. `fate`: it is to be kept as cancelled, for this reason. `stuck`: the store does not take
    it, for this reason."""

    pos: int
    draft: Draft
    fate: str | None = None
    stuck: str | None = None

    @property
    def record(self) -> Record:
        """As people see it."""
        d = self.draft
        return Record(
            id=d.id,
            seq=0,
            bot=d.bot,
            chat=d.chat,
            method=d.method,
            params=d.params,
            state=State.WAITING,
            priority=d.priority,
            accepted_at=d.accepted_at,
            due_at=d.due_at,
            expires_at=d.expires_at,
            reason=REASON if self.stuck is None else f"spooled: the store does not take it: {self.stuck}",
            key=d.key,
            metadata=d.metadata,
            files=d.files,
            options=d.options,
        )


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal holds."""

    messages: int = 0
    stuck: int = 0  # of them
    oldest_at: float | None = None  # Unix seconds: when the first of them was accepted
    bytes: int = 0  # with their files
    limit: int = LIMIT  # bytes


class Journal:
    """`limit`: bytes it may hold, with the files of its messages. `inline`: every step runs at once in the calling thread,
    for simulations that must replay exactly; not for production. Errors: `StoreError` and its children."""

    def __init__(self, path: Path | str, *, limit: int = LIMIT, inline: bool = False) -> None:
        self.path = Path(path)
        self.limit = limit
        self._inline = inline
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._watcher: sqlite3.Connection | None = None
        self._seen = 0  # the version of the file that the last look saw ...
        self._holds = self._keeps = False  # ... and what it held then

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        """Create the file, or its tables. Raises SchemaMismatch when it is newer than this Kurir, or none of ours."""
        if self._writer is None:
            await in_thread(self._open, inline=self._inline)

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            migrate(self.path, f"{__package__}.migrations")
            self._watcher = connect(self.path, read_only=True)
            self._reader = Reader(self.path, "kurir-journal", inline=self._inline)
            self._writer = Writer(self.path, inline=self._inline)
        except sqlite3.Error as error:
            raise translate(error, self.path) from None
        except OSError as error:
            raise StoreAway(f"{self.path}: {error.strerror}", "Check the folder's rights, or KURIR_SPOOL.") from None

    async def close(self) -> None:
        if self._writer is not None:
            await in_thread(self._close, inline=self._inline)

    def _close(self) -> None:
        assert self._writer is not None
        assert self._reader is not None
        assert self._watcher is not None
        self._writer.close()
        self._reader.close()
        self._watcher.close()
        self._writer = self._reader = self._watcher = None

    def _writes(self) -> Writer:
        if self._writer is None:
            raise StoreAway(f"the spool {self.path} is not open", "Use Kurir inside its `async with`.")
        return self._writer

    def _reads(self) -> Reader:
        self._writes()
        assert self._reader is not None
        return self._reader

    # ---------------------------------------------------------------- the way in

    async def add(self, drafts: Sequence[Draft]) -> list[Accepted]:
        """Keep all drafts or none, behind what is there. Keys mean what they mean in the store, as far as the journal knows
        them. Raises KeyConflict, StoreFull, StoreAway."""
        return await self._writes().run(lambda tx: _add(tx, drafts, self.path, self.limit))

    async def check_room(self, drafts: Sequence[Draft]) -> None:
        """Raises StoreFull if `add` would now."""
        await self._reads().read(lambda db: _check_room(db, _size(db, drafts), self.path, self.limit))

    def holds(self) -> bool:
        """Is anything to be forwarded, of whichever process? Costs microseconds, and a small read after a change."""
        self._look()
        return self._holds

    def keeps(self) -> bool:
        """Is anything there, be it stuck? Costs as much."""
        self._look()
        return self._keeps

    def _look(self) -> None:
        """(A file that cannot be read is taken to be as it was.)"""
        if self._watcher is None:
            return
        with suppress(sqlite3.Error):
            version: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
            if version != self._seen:
                holds, keeps = self._watcher.execute(Q["holds"]).fetchone()
                self._seen, self._holds, self._keeps = version, bool(holds), bool(keeps)

    # ---------------------------------------------------------------- the way out

    @contextmanager
    def forwarding(self) -> Iterator[bool]:
        """True: this process forwards, and no other does until the block ends, or the process. Forwarding twice would be
        harmless, since the store knows what it has. Raises StoreAway where that cannot be told."""
        if fcntl is None:
            yield True
            return
        path = self.path.with_name(f"{self.path.name}.lock")
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unlockable(path, error) from None
        try:
            yield _locked(path, handle)
        finally:
            os.close(handle)

    async def head(self, limit: int, after: int = 0) -> list[Entry]:
        """The first entries behind position `after` that are to be forwarded."""
        return await self._select("WHERE stuck IS NULL AND pos > ? ORDER BY pos LIMIT ?", (after, limit))

    async def remove(self, positions: Sequence[int]) -> None:
        """The store has them."""
        rows = [(pos,) for pos in positions]
        await self._writes().run(lambda tx: tx.db.executemany(Q["remove"], rows))

    async def doom(self, pos: int, fate: str) -> None:
        """It goes to the store as a cancelled message, for this reason."""
        await self._writes().run(lambda tx: tx.db.execute(Q["set_fate"], (fate, pos)))

    async def set_aside(self, pos: int, why: str) -> None:
        """The store does not take it: those behind it go on."""
        await self._writes().run(lambda tx: tx.db.execute(Q["set_stuck"], (why, pos)))

    async def unstick(self) -> int:
        """What was set aside is to be forwarded after all; answers how many."""
        return await self._writes().run(lambda tx: tx.db.execute(Q["unstick"]).rowcount)

    # ---------------------------------------------------------------- looking

    async def find(self, ids: Sequence[str]) -> list[Entry]:
        """Those of `ids` (at most 1,000) that are here."""
        return await self._select(f"WHERE id IN ({','.join('?' * len(ids))})", tuple(ids))

    async def page(self, limit: int) -> list[Entry]:
        """The first entries, those that are stuck too."""
        return await self._select("ORDER BY pos LIMIT ?", (limit,))

    async def _select(self, which: str, values: tuple[object, ...]) -> list[Entry]:
        def select(db: sqlite3.Connection) -> list[Entry]:
            return [_entry(row) for row in db.execute(f"{Q['entries']} {which}", values)]

        return await self._reads().read(select)

    async def files(self) -> set[str]:
        """SHA-256 of all files that entries refer to."""

        def select(db: sqlite3.Connection) -> set[str]:
            return {sha256 for (sha256,) in db.execute(Q["files"])}

        return await self._reads().read(select)

    async def contents(self) -> Contents:
        def read(db: sqlite3.Connection) -> Contents:
            oldest = db.execute(Q["oldest"]).fetchone()
            messages, stuck = (db.execute(Q[name]).fetchone()[0] for name in ("count", "count_stuck"))
            return Contents(messages, stuck, oldest[0] if oldest else None, _used(db), self.limit)

        return await self._reads().read(read)

    async def probe(self, now: float) -> None:
        """Write a row: what this raises, every `add` would."""

        def write(tx: Transaction) -> None:
            _check_room(tx.db, 0, self.path, self.limit)
            tx.db.execute(Q["sign_of_life"], (now,))

        await self._writes().run(write)


def _locked(path: Path, handle: int) -> bool:
    """False: somebody else has it."""
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _unlockable(path, error) from None
    return True


def _unlockable(path: Path, error: OSError) -> StoreAway:
    return StoreAway(
        f"{path} cannot be locked: {error.strerror}", "Check the rights of that folder and the room on its disk."
    )


def _add(tx: Transaction, drafts: Sequence[Draft], path: Path, limit: int) -> list[Accepted]:
    answers: list[Accepted] = []
    fresh: list[Draft] = []
    keys: dict[tuple[int, str], tuple[str, bytes | None]] = {}
    for draft in drafts:
        first = None
        if draft.key is not None:
            place = (draft.bot, draft.key)
            first = keys.get(place) or tx.db.execute(Q["by_key"], place).fetchone()
            if first is None:
                keys[place] = (draft.id, draft.digest)
        if first is None or first[0] == draft.id:
            fresh.append(draft)
            answers.append(Accepted(draft.id, State.WAITING, spooled=True))
            continue
        if first[1] != draft.digest:
            raise KeyConflict(draft.key or "", first[0])
        answers.append(Accepted(first[0], State.WAITING, True, spooled=True))
    _check_room(tx.db, _size(tx.db, fresh), path, limit)
    tx.db.executemany(Q["insert"], [_row(draft) for draft in fresh])
    return answers


def _size(db: sqlite3.Connection, drafts: Sequence[Draft]) -> int:
    """Bytes that these would take, about; files that are here already take no more."""
    files = {file.sha256: file.size for draft in drafts for file in draft.files}
    new = (size for sha256, size in files.items() if db.execute(Q["has_file"], (sha256,)).fetchone() is None)
    return sum(len(draft.params) + OVERHEAD for draft in drafts) + sum(new)


def _check_room(db: sqlite3.Connection, more: int, path: Path, limit: int) -> None:
    if _used(db) + more > limit:
        raise StoreFull(
            f"the store is away, and the spool {path} is full ({limit / 1e6:,.0f} MB)",
            "Bring the store back; or raise KURIR_SPOOL_MB.",
        )


def _used(db: sqlite3.Connection) -> int:
    """Bytes, of messages and their files."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    used: int = (pages - free) * size + db.execute(Q["file_bytes"]).fetchone()[0]
    return used


def _row(d: Draft) -> tuple[object, ...]:
    return (
        d.id,
        d.bot,
        d.chat,
        d.method,
        d.params.decode(),
        d.accepted_at,
        int(d.priority),
        d.due_at,
        d.expires_at,
        d.key,
        d.digest,
        d.target,
        d.coalesce,
        d.force,
        dump_files(d.files),
        dump_metadata(d.metadata),
        dump_options(d.options),
    )


def _entry(row: tuple[Any, ...]) -> Entry:
    pos, fate, stuck, id, bot, chat, method, params, accepted_at, prio, due_at, expires_at = row[:12]
    key, digest, target, coalesce, force, files, metadata, options = row[12:]
    draft = Draft(
        id=id,
        bot=bot,
        chat=chat,
        method=method,
        params=params.encode(),
        accepted_at=accepted_at,
        priority=Priority(prio),
        files=load_files(files),
        due_at=due_at,
        expires_at=expires_at,
        key=key,
        digest=digest,
        target=target,
        coalesce=bool(coalesce),
        metadata=load_metadata(metadata),
        options=load_options(options),
        force=bool(force),
    )
    return Entry(pos, draft, fate, stuck)
