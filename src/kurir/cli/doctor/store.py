"""The store and the file spool: do they work, is there room, who sends."""

from __future__ import annotations

import asyncio
import math
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from kurir.app import Kurir
from kurir.cli.times import short
from kurir.core.errors import KurirError
from kurir.ports import Purge, Query, Stats
from kurir.records import is_held
from kurir.settings import Settings
from kurir.stores.urls import is_server, sqlite_path
from kurir.telegram.redact import redact
from kurir.telegram.shared_spool import cache_folder

from . import bucket, server
from .finding import Finding, ok, problem, warning

LARGEST_CHECK = 500_000_000  # bytes of a store that is read through here
ROOM = (1_000_000_000, 100_000_000)  # bytes free: less is a warning, a problem
LARGEST_WAL = 256_000_000  # bytes; the store keeps it near 8 MB


async def check(settings: Settings) -> AsyncIterator[Finding]:
    path = sqlite_path(settings.store)
    try:
        async with Kurir(courier=False, settings=replace(settings, spool=None)) as kurir:
            stats = await kurir.stats()
            yield ok("store", _words(settings, stats))
            now = kurir.clock.now()
            await kurir.store.alter(Query(ids=("doctor",), limit=1), Purge(), now)
            yield ok("store", "can be written")
            async for finding in server.check(kurir, stats):
                yield finding
            for finding in _senders(stats, settings, now):
                yield finding
    except KurirError as error:
        yield problem("store", error.what, error.remedy)
    if path is not None and path.exists():
        yield await asyncio.to_thread(_integrity, path)
        for finding in room(path):
            yield finding
    if isinstance(settings.files, str):
        yield await bucket.check(settings.files)
        yield _spool(cache_folder(settings.files), "the folder of copies")
        return
    folder = settings.files or (path.with_name(f"{path.name}.files") if path else None)
    if folder is not None:
        yield _spool(folder, "file spool")
    elif is_server(settings.store):
        yield _spool(cache_folder(settings.store), "files are in the store; the folder of copies")


def _words(settings: Settings, stats: Stats) -> str:
    facts = stats.store
    size = f", {facts['bytes'] / 1e6:,.1f} MB" if "bytes" in facts else ""
    schema = f", schema {facts['schema']}" if "schema" in facts else ""
    return f"{redact(settings.store)} opens: {facts.get('engine', 'in memory')}{schema}{size}"


def _senders(stats: Stats, settings: Settings, now: float) -> Iterator[Finding]:
    """What keeps messages from leaving, as the store knows it."""
    names = {bot.id: bot.name for bot in settings.bots}
    for bot in stats.bots:
        name = f"{names.get(bot.bot, 'a bot without token')} ({bot.bot})"
        if bot.paused_until > now:
            why = bot.paused_why or "no reason given"
            if math.isinf(bot.paused_until) and why.startswith("refused:"):
                yield problem("courier", f"{name} is stopped: {why}", "Put the token right; it then goes on by itself.")
            else:
                yield warning("courier", f"{name} is paused: {why}", f"`kurir resume {bot.bot}` ends it.")
        elif bot.waiting and not is_held(bot, now):
            words = f"{bot.waiting:,} messages of {name} wait and nobody sends"
            fix = "Start `kurir worker`." if bot.bot in names else "Configure its token, then start `kurir worker`."
            yield warning("courier", words, fix)
        elif is_held(bot, now):
            yield ok("courier", f"{bot.holder} sends for {name}; {bot.waiting:,} wait")


def _integrity(path: Path) -> Finding:
    size = path.stat().st_size
    if size > LARGEST_CHECK:
        return ok("store", f"not read through, it is large; `sqlite3 {path} 'PRAGMA quick_check'` does")
    started = time.perf_counter()
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            said = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            db.close()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        fix = "Stop all workers, keep a copy of the file, then `sqlite3 FILE .recover | sqlite3 new.db`."
        return problem("store", f"{path} is damaged: {said}", fix)
    return ok("store", f"quick check passed ({short(time.perf_counter() - started)})")


def room(path: Path) -> Iterator[Finding]:
    """On the disk of a SQLite file."""
    free = shutil.disk_usage(path.parent).free
    least, low = ROOM
    words = f"{free / 1e9:,.1f} GB free for {path}"
    fix = "Free some: at none left, nothing more is accepted (what is accepted is kept)."
    if free < low:
        yield problem("disk", words, fix)
    else:
        yield warning("disk", words, fix) if free < least else ok("disk", words)
    wal = path.with_name(f"{path.name}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    if size > LARGEST_WAL:
        fix = "A reader has had it open for long: end idle sqlite3 shells and backups on this file."
        yield warning("disk", f"the write-ahead log has {size / 1e6:,.0f} MB", fix)
    else:
        yield ok("disk", f"write-ahead log {size / 1e6:,.1f} MB")


def _spool(folder: Path, what: str) -> Finding:
    """Can files be kept there? The folder comes into being with the first one."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        words = f"{what} {folder} cannot be written: {error.strerror}"
        return problem("files", words, "Give this user the right to write there, or set KURIR_FILES.")
    return ok("files", f"{what} {folder} can be written")
