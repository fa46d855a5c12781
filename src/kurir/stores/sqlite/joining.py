"""Submit inside the caller's own transaction on the store's file: `ports.Joining`.

The caller holds SQLite's one write lock from then on until it commits or rolls back; whoever else writes waits for that.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kurir.core.errors import InvalidMessage, KurirError, StoreAway
from kurir.core.message import Accepted, Draft
from kurir.stores.connections import FIELD, Driver, find, find_sync, outside, stranger

from .submit import submit, submit_again
from .transaction import Q, Transaction
from .writer import translate

NEEDED = "SQLite"


async def submit_within(path: Path, connection: Any, drafts: Sequence[Draft], now: float) -> list[Accepted]:
    """See `ports.Joining`. A connection that blocks does so here: its statements run in the calling thread."""
    theirs = await find(connection)
    if theirs.driver is Driver.SQLITE3:
        return _submit(theirs.raw, path, drafts, now)
    if theirs.driver is not Driver.AIOSQLITE:
        raise stranger(theirs.raw, NEEDED)
    try:
        accepted: list[Accepted] = await theirs.raw._execute(lambda: _submit(theirs.raw._conn, path, drafts, now))
    except ValueError as error:  # what aiosqlite says of one that is closed
        raise _unusable(error) from None
    return accepted


def submit_within_sync(path: Path, connection: Any, drafts: Sequence[Draft], now: float) -> list[Accepted]:
    """See `ports.Joining`."""
    theirs = find_sync(connection)
    if theirs.driver is not Driver.SQLITE3:
        raise stranger(theirs.raw, NEEDED)
    return _submit(theirs.raw, path, drafts, now)


def _submit(db: sqlite3.Connection, path: Path, drafts: Sequence[Draft], now: float) -> list[Accepted]:
    """In the thread that the connection belongs to."""
    try:
        with _plainly(db):
            _check(db, path)
            with _in_transaction(db):
                try:
                    return _carried_out(submit, db, drafts, now)
                except sqlite3.IntegrityError:  # an id is known: this is the same submit once more
                    return _carried_out(submit_again, db, drafts, now)
    except sqlite3.ProgrammingError as error:  # closed, or of another thread
        raise _unusable(error) from None
    except sqlite3.Error as error:
        raise _translated(error, path) from None


def _carried_out(
    verb: Callable[[Transaction, Sequence[Draft], float], list[Accepted]],
    db: sqlite3.Connection,
    drafts: Sequence[Draft],
    now: float,
) -> list[Accepted]:
    with _whole(db):
        tx = Transaction(db)
        accepted = verb(tx, drafts, now)
        tx.finish()
        return accepted


def _unusable(error: Exception) -> InvalidMessage:
    return InvalidMessage(FIELD, f"cannot be used: {error}", "Give an open one, in the thread that it was made in.")


def _translated(error: sqlite3.Error, path: Path) -> KurirError:
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreAway(
            f"another transaction writes to {path}, and this one cannot wait for it (any longer)",
            "Keep transactions short, and let one that reads before it writes start with BEGIN IMMEDIATE.",
        )
    return translate(error, path)


@contextlib.contextmanager
def _plainly(db: sqlite3.Connection) -> Iterator[None]:
    """Rows are tuples and texts are `str` here, whatever they are for the caller."""
    rows, texts = db.row_factory, db.text_factory
    db.row_factory, db.text_factory = None, str
    try:
        yield
    finally:
        db.row_factory, db.text_factory = rows, texts


def _check(db: sqlite3.Connection, path: Path) -> None:
    """The connection's own file is the store's: a transaction over several files is not atomic in WAL mode
    (https://www.sqlite.org/lang_attach.html)."""
    file = next((row[2] for row in db.execute("PRAGMA database_list").fetchall() if row[1] == "main"), "")
    try:
        same = bool(file) and os.path.samefile(file, path)
    except OSError:
        same = False
    if not same:
        what = f"is to {file or 'a database in memory'}, and the store is {path}"
        raise InvalidMessage(FIELD, what, "Point KURIR_STORE at the file that holds your own tables.")


@contextlib.contextmanager
def _in_transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Holds the write lock, so that nothing that is read here changes before the commit. Begins where the connection
    would begin by itself before it writes; what was begun here ends here if it fails."""
    begun = not db.in_transaction
    if begun:
        if not _begins_by_itself(db):
            raise outside('connection.execute("BEGIN IMMEDIATE"), or transaction.atomic() in Django')
        db.execute("BEGIN IMMEDIATE")
    else:
        db.execute(Q["take_write_lock"])
    try:
        yield
    except BaseException:
        if begun:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


def _begins_by_itself(db: sqlite3.Connection) -> bool:
    return getattr(db, "autocommit", None) is not True and db.isolation_level is not None


@contextlib.contextmanager
def _whole(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, in a transaction that goes on."""
    db.execute("SAVEPOINT kurir_submit")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk may have ended the whole transaction
            db.execute("ROLLBACK TO kurir_submit")
            db.execute("RELEASE kurir_submit")
        raise
    db.execute("RELEASE kurir_submit")
