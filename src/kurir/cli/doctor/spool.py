"""The journal that takes messages while the store is away: does it work, what does it hold, is there room."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from kurir.cli.times import short
from kurir.core.errors import KurirError
from kurir.services.spooling import journal_of
from kurir.settings import Settings
from kurir.stores.journal import Contents, Journal
from kurir.stores.urls import open_store

from .finding import Finding, ok, problem, warning
from .store import room


async def check(settings: Settings) -> AsyncIterator[Finding]:
    """Nothing is forwarded, and no file created."""
    try:
        journal = journal_of(settings.spool, settings.spool_mb, open_store(settings.store))
        if journal is None:
            return
        if not journal.path.exists():
            yield _place(journal.path)
            return
        for finding in await _look(journal):
            yield finding
    except KurirError as error:
        yield problem("spool", error.what, error.remedy)


async def _look(journal: Journal) -> list[Finding]:
    await journal.open()
    try:
        await journal.probe(time.time())
        return [*_findings(journal.path, await journal.contents()), *room(journal.path)]
    finally:
        await journal.close()


def _findings(path: Path, contents: Contents) -> Iterator[Finding]:
    size = f"{contents.bytes / 1e6:,.1f} of {contents.limit / 1e6:,.0f} MB"
    yield ok("spool", f"{path} can be written; it holds {contents.messages:,} messages ({size})")
    if contents.stuck:
        words = f"the store refuses {contents.stuck:,} spooled messages"
        yield problem("spool", words, "See `kurir spool`: `--forward` tries them again, `--drop ID` gives one up.")
    if waiting := contents.messages - contents.stuck:
        age = short(max(0.0, time.time() - (contents.oldest_at or 0.0)))
        words = f"{waiting:,} messages wait there for the store, the oldest for {age}"
        yield warning(
            "spool", words, "A running `kurir serve` or `kurir worker` forwards; else `kurir spool --forward`."
        )


def _place(path: Path) -> Finding:
    """Can the file be created? It comes into being with the first use."""
    there = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        words = f"{path} cannot be created: {error.strerror}"
        return problem("spool", words, "Give this user the right to write there, or set KURIR_SPOOL.")
    return ok("spool", f"{path} can be created")
