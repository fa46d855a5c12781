"""A caller's own connection: which driver's it is, and the driver's own object under SQLAlchemy's or Django's.

Nobody's library is imported here: a class can only be meant if its module is loaded already.
"""

from __future__ import annotations

import sqlite3
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kurir.core.errors import InvalidMessage

FIELD = "connection"  # what errors name
KNOWN = (
    "Give a connection of asyncpg, psycopg, sqlite3 or aiosqlite, or a session or connection of SQLAlchemy or Django"
    " over one of them."
)


class Driver(Enum):
    """Whose connection it is. The value is what errors call it."""

    SQLITE3 = "sqlite3"
    AIOSQLITE = "aiosqlite"
    ASYNCPG = "asyncpg"
    PSYCOPG = "psycopg"
    PSYCOPG_ASYNC = "psycopg (asynchronous)"

    @property
    def blocks(self) -> bool:
        return self in (Driver.SQLITE3, Driver.PSYCOPG)


@dataclass(frozen=True, slots=True)
class Theirs:
    """A caller's connection."""

    driver: Driver
    raw: Any  # the driver's own connection


_DRIVERS = {
    Driver.AIOSQLITE: ("aiosqlite.core.Connection",),
    Driver.ASYNCPG: ("asyncpg.connection.Connection", "asyncpg.pool.PoolConnectionProxy"),
    Driver.PSYCOPG: ("psycopg.Connection",),
    Driver.PSYCOPG_ASYNC: ("psycopg.AsyncConnection",),
}
_CURSORS = ("sqlite3.Cursor", "psycopg.Cursor", "psycopg.AsyncCursor")
_SCOPED = ("sqlalchemy.orm.scoping.scoped_session", "sqlalchemy.ext.asyncio.scoping.async_scoped_session")
_SESSION = "sqlalchemy.orm.session.Session"
_CONNECTION = "sqlalchemy.engine.base.Connection"
_ASYNC_SESSION = "sqlalchemy.ext.asyncio.session.AsyncSession"
_ASYNC_CONNECTION = "sqlalchemy.ext.asyncio.engine.AsyncConnection"
_DJANGO_CURSOR = "django.db.backends.utils.CursorWrapper"
_DJANGO = ("django.db.backends.base.base.BaseDatabaseWrapper", "django.utils.connection.ConnectionProxy")


async def find(connection: Any) -> Theirs:
    """What `connection` is; one of SQLAlchemy's has begun its transaction then. Raises InvalidMessage."""
    connection = _unscoped(connection)
    if _is(connection, _ASYNC_SESSION):
        return await _tried(connection.run_sync, lambda session: _under_sqlalchemy(session.connection()))
    if _is(connection, _ASYNC_CONNECTION):
        return await _tried(connection.run_sync, _under_sqlalchemy)
    return _blocking(connection)


def find_sync(connection: Any) -> Theirs:
    """What `connection` is, if it blocks. Raises InvalidMessage."""
    connection = _unscoped(connection)
    asynchronous = _is(connection, _ASYNC_SESSION, _ASYNC_CONNECTION)
    theirs = None if asynchronous else _blocking(connection)
    if theirs is None or not theirs.driver.blocks:
        raise InvalidMessage(
            FIELD, f"is asynchronous ({_name(connection)})", "Give a blocking one, or use Kurir in the event loop."
        )
    return theirs


def stranger(connection: Any, needed: str) -> InvalidMessage:
    """The refusal of a connection to another kind of database than the store's."""
    return InvalidMessage(
        FIELD,
        f"is of {_name(connection)}, and the store is {needed}",
        f"Joining takes a connection to the very database that KURIR_STORE names ({needed}).",
    )


def outside(how: str) -> InvalidMessage:
    """The refusal of a connection that would commit at once."""
    return InvalidMessage(FIELD, "is in no transaction, so there is nothing to join", f"Begin one first: {how}.")


def _blocking(connection: Any) -> Theirs:
    """Of those that need not be awaited to be recognised."""
    if _is(connection, _SESSION):
        return _tried_sync(connection.connection, _under_sqlalchemy)
    if _is(connection, _CONNECTION):
        return _tried_sync(lambda: connection, _under_sqlalchemy)
    if _is(connection, _DJANGO_CURSOR):
        connection = connection.db
    if _is(connection, *_DJANGO):
        connection.ensure_connection()
        connection = connection.connection
    elif _is(connection, *_CURSORS):
        connection = connection.connection
    theirs = _of_driver(connection)
    if theirs is None:
        raise InvalidMessage(FIELD, f"is a {_name(connection)}", KNOWN)
    return theirs


def _of_driver(connection: Any) -> Theirs | None:
    if isinstance(connection, sqlite3.Connection):
        return Theirs(Driver.SQLITE3, connection)
    for driver, names in _DRIVERS.items():
        if _is(connection, *names):
            return Theirs(driver, connection)
    return None


def _under_sqlalchemy(connection: Any) -> Theirs:
    """What is under a connection of SQLAlchemy's; for an asynchronous one this runs in its greenlet.

    SQLAlchemy commits what it knows to have begun: so it begins here, if it has not."""
    if not connection.in_transaction():
        connection.begin()
    raw = connection.connection.driver_connection
    theirs = _of_driver(raw)
    if theirs is None:
        raise InvalidMessage(FIELD, f"is SQLAlchemy's over {_name(raw)}", KNOWN)
    if theirs.driver is Driver.ASYNCPG and not raw.is_in_transaction():
        connection.exec_driver_sql("SELECT 1")  # its asyncpg adapter sends BEGIN with the first statement
    return theirs


async def _tried(run: Any, work: Any) -> Theirs:
    try:
        theirs: Theirs = await run(work)
    except InvalidMessage:
        raise
    except Exception as error:
        raise _unusable(error) from error
    return theirs


def _tried_sync(get: Any, work: Any) -> Theirs:
    try:
        theirs: Theirs = work(get())
    except InvalidMessage:
        raise
    except Exception as error:
        raise _unusable(error) from error
    return theirs


def _unusable(error: Exception) -> InvalidMessage:
    """A session that failed before, is closed, or has no one database."""
    return InvalidMessage(
        FIELD, f"cannot be used: {error}", "Give an open one of one database, in a sound transaction."
    )


def _unscoped(connection: Any) -> Any:
    return connection.registry() if _is(connection, *_SCOPED) else connection


def _is(connection: Any, *names: str) -> bool:
    """It is of one of these classes, or of a child of theirs."""
    for name in names:
        module, _, attribute = name.rpartition(".")
        known = getattr(sys.modules.get(module), attribute, None)
        if isinstance(known, type) and isinstance(connection, known):
            return True
    return False


def _name(connection: Any) -> str:
    kind = type(connection)
    return f"{kind.__module__}.{kind.__qualname__}"
