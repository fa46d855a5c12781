"""The SQLite store: one writer with group commit, two readers, and the verbs of `ports.Store` on top."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kurir.core.errors import SchemaMismatch, StoreAway
from kurir.core.message import Accepted, Claim, Draft
from kurir.core.rows import Section
from kurir.ports import (
    ApiKey,
    Change,
    Chunk,
    Claimed,
    LanePage,
    LaneQuery,
    Lease,
    Page,
    Pruned,
    Query,
    Roll,
    Row,
    Settlement,
    Stats,
)
from kurir.stores.named import migrations

from . import alter, claims, dump, joining, keys, reads, roster, sharing
from .liveness import Liveness
from .reader import LONGEST, Reader, in_thread, is_short
from .submit import Submit
from .writer import Writer, connect, translate

WATCH_EVERY = 0.02  # seconds between two looks at whether another process has written


class SqliteStore:
    """`ports.Store`, `ports.KeyStore` and `ports.Roster` on one SQLite file.

    `inline`: every verb runs at once in the calling thread and leases end by time alone, so that a simulation replays
    exactly; not for production.
    """

    def __init__(self, path: Path | str, *, inline: bool = False) -> None:
        self.path = Path(path)
        self._inline = inline
        self._writer: Writer | None = None
        self._reader: Reader | None = None  # for what goes straight to its rows
        self._searcher: Reader | None = None  # for what may look at every row
        self._watcher: sqlite3.Connection | None = None  # only tells whether somebody else has written
        self._liveness = Liveness(self.path)
        self._changed = asyncio.Event()
        self._seen = 0  # the version of the file that the last look saw

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        if self._writer is None:
            await in_thread(self._open, inline=self._inline)

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            migrate(self.path)
            self._writer = Writer(self.path, inline=self._inline)
            self._reader = Reader(self.path, "kurir-reader", inline=self._inline)
            self._searcher = self._reader
            if not self._inline:
                self._searcher = Reader(self.path, "kurir-searcher", inline=False, longest=LONGEST)
            self._watcher = connect(self.path, read_only=True)
        except sqlite3.Error as error:
            raise translate(error, self.path) from None
        except OSError as error:
            raise StoreAway(
                f"{self.path}: {error.strerror}", "Check the folder's rights, or set KURIR_STORE."
            ) from None

    async def close(self) -> None:
        if self._writer is not None:
            await in_thread(self._close, inline=self._inline)

    def _close(self) -> None:
        assert self._writer is not None
        assert self._reader is not None
        assert self._searcher is not None
        self._writer.close()
        self._reader.close()
        if self._searcher is not self._reader:
            self._searcher.close()
        if self._watcher is not None:
            self._watcher.close()
        self._liveness.close()
        self._writer = self._reader = self._searcher = self._watcher = None

    def _writes(self) -> Writer:
        if self._writer is None:
            raise StoreAway(f"{self.path} is not open", "Use Kurir inside its `async with`.")
        return self._writer

    def _reads(self, *, short: bool) -> Reader:
        self._writes()
        reader = self._reader if short else self._searcher
        assert reader is not None
        return reader

    # ---------------------------------------------------------------- verbs

    async def submit(self, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        accepted = await self._writes().run(Submit(drafts, now))
        self._changed.set()
        return accepted

    async def submit_within(self, connection: Any, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        self._writes()
        return await joining.submit_within(self.path, connection, drafts, now)

    def submit_within_sync(self, connection: Any, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        self._writes()
        return joining.submit_within_sync(self.path, connection, drafts, now)

    async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        is_dead = self._announce(holder, until > now)
        return await self._writes().run(lambda tx: claims.lease(tx, holder, bots, until, now, is_dead))

    async def attend(self, holder: str, bots: Sequence[int], until: float, now: float) -> Roll:
        is_dead = self._announce(holder, until > now)
        return await self._writes().run(lambda tx: roster.attend(tx, holder, bots, until, now, is_dead))

    def _announce(self, holder: str, alive: bool) -> Callable[[str], bool]:
        """Show that `holder` lives, if it does; answers what tells whether another one is dead."""
        if self._inline:
            return lambda _: False
        if alive:
            self._liveness.announce(holder)
        return self._liveness.is_dead

    async def claim(self, lease: Lease, now: float, limit: int, low: int = 0) -> Claimed:
        return await self._writes().run(lambda tx: claims.claim(tx, lease, now, limit, low))

    async def adopt(self, lease: Lease, limit: int, suspects: bool = False) -> list[Claim]:
        return await self._writes().run(lambda tx: claims.adopt(tx, lease, limit, suspects))

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[bool]:
        settled = await self._writes().run(lambda tx: claims.settle(tx, settlements, now))
        self._changed.set()
        return settled

    async def find(self, query: Query) -> Page:
        return await self._reads(short=is_short(query)).read(lambda db: reads.find(db, query))

    async def alter(self, query: Query, change: Change, now: float) -> list[str]:
        changed = await self._writes().run(lambda tx: alter.alter(tx, query, change, now))
        self._changed.set()
        return changed

    async def steer(
        self, bot: int, *, chat: str | None = None, until: float, reason: str | None = None, extend: bool = False
    ) -> None:
        await self._writes().run(lambda tx: alter.steer(tx, bot, chat, until, reason, extend))
        self._changed.set()

    async def suppress(self, bot: int, chat: str, why: str | None, now: float) -> None:
        await self._writes().run(lambda tx: alter.suppress(tx, bot, chat, why, now))
        self._changed.set()

    async def stats(self, bot: int | None = None, days: int = 31) -> Stats:
        commits = self._writes().commits
        stats = await self._reads(short=True).read(lambda db: reads.stats(db, bot, days))
        return replace(stats, store={**stats.store, **commits.figures()})

    async def prune(self, before: float, now: float, limit: int = 1000, lift_before: float = 0.0) -> Pruned:
        return await self._writes().run(lambda tx: alter.prune(tx, before, now, limit, lift_before))

    async def lanes(self, query: LaneQuery) -> LanePage:
        return await self._reads(short=is_short(query)).read(lambda db: reads.lanes(db, query))

    async def add_key(self, key: ApiKey) -> None:
        await self._writes().run(lambda tx: keys.add(tx, key))
        self._changed.set()

    async def keys(self) -> list[ApiKey]:
        return await self._reads(short=True).read(keys.all)

    async def revoke_key(self, id: str, now: float) -> bool:
        revoked = await self._writes().run(lambda tx: keys.revoke(tx, id, now))
        self._changed.set()
        return revoked

    async def dump(self, section: Section, cursor: str | None = None, limit: int = 1000) -> Chunk:
        return await self._reads(short=True).read(lambda db: dump.dump(db, section, cursor, limit))

    async def load(self, section: Section, rows: Sequence[Row]) -> None:
        await self._writes().run(lambda tx: dump.load(tx, section, rows))
        self._changed.set()

    async def mark(self, mark: str | None) -> None:
        await self._writes().run(lambda tx: dump.mark(tx, mark))

    async def marked(self) -> str | None:
        return await self._reads(short=True).read(dump.marked)

    async def watch(self, timeout: float) -> None:
        """Own writes wake at once; other processes' within WATCH_EVERY."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while not self._changed.is_set() and (left := end - loop.time()) > 0:
            version = self._version()
            if version != self._seen:
                self._seen = version
                break
            wait = left if self._inline else min(left, WATCH_EVERY)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
        self._changed.clear()

    def _version(self) -> int:
        """Changes when another connection has committed."""
        if self._watcher is None:
            return 0
        try:
            version: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            raise translate(error, self.path) from None
        return version


def migrate(path: Path, package: str = f"{__package__}.migrations") -> None:
    """Bring the schema up to date, one migration a transaction. Raises SchemaMismatch when it is newer than we know."""
    db = connect(path)
    try:
        scripts = migrations(package)
        known = scripts[-1][0]
        for version, script in scripts:
            db.execute("BEGIN IMMEDIATE")  # another process may be migrating
            present = db.execute("PRAGMA user_version").fetchone()[0]
            if present > known:
                db.execute("ROLLBACK")
                raise SchemaMismatch(
                    f"{path} has schema {present}; this Kurir knows up to {known}",
                    "Upgrade Kurir (`pip install -U kurir`); a newer one has used this file.",
                )
            sharing.check(db, path, present, scripts[0][1])
            if present < version:
                for statement in _split(script):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {version}")
            db.execute("COMMIT")
    finally:
        db.close()


def _split(script: str) -> list[str]:
    """The script's statements (`executescript` would commit before it)."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
