"""Each kind of connection that a caller can have, in a transaction, as its users have it: `WAYS`."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import sqlalchemy as sa
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker


@dataclass(frozen=True)
class Database:
    """The store's own database, with a table `orders (id)` of the shop's."""

    store: str  # KURIR_STORE
    plain: str  # what a driver connects to: a file, or a URL
    orders: str  # the table's name


class Way:
    """One kind of connection inside a transaction: what to give Kurir, and how its user goes on."""

    def __init__(self, connection: Any, execute: Callable[[str], Any], commit: Any, rollback: Any) -> None:
        self.connection = connection
        self._execute, self._commit, self._rollback = execute, commit, rollback

    async def execute(self, sql: str) -> None:
        await _done(self._execute(sql))

    async def commit(self) -> None:
        await _done(self._commit())

    async def rollback(self) -> None:
        await _done(self._rollback())

    def commit_now(self) -> None:
        """Of those that block."""
        self._commit()

    def rollback_now(self) -> None:
        self._rollback()


async def _done(answer: Any) -> None:
    if isinstance(answer, Awaitable):
        await answer


# ---------------------------------------------------------------- SQLite's own drivers


@contextmanager
def by_sqlite3(database: Database, **options: Any) -> Iterator[Way]:
    with contextlib.closing(sqlite3.connect(database.plain, **options)) as db:
        if options.get("isolation_level", "") is None:
            db.execute("BEGIN")
        yield Way(db, db.execute, lambda: db.execute("COMMIT"), lambda: db.execute("ROLLBACK"))


@contextmanager
def by_sqlite3_cursor(database: Database) -> Iterator[Way]:
    with contextlib.closing(sqlite3.connect(database.plain)) as db:
        yield Way(db.cursor(), db.execute, db.commit, db.rollback)


@contextmanager
def by_sqlite3_with_factories(database: Database) -> Iterator[Way]:
    """What the application does to rows and texts is its own business."""
    with contextlib.closing(sqlite3.connect(database.plain)) as db:
        db.row_factory = lambda cursor, row: {d[0]: value for d, value in zip(cursor.description, row, strict=True)}
        db.text_factory = bytes
        yield Way(db, db.execute, db.commit, db.rollback)
        assert db.execute("SELECT 'x' AS y").fetchone() == {"y": b"x"}


@asynccontextmanager
async def by_aiosqlite(database: Database) -> AsyncIterator[Way]:
    async with aiosqlite.connect(database.plain) as db:
        yield Way(db, db.execute, db.commit, db.rollback)


# ---------------------------------------------------------------- PostgreSQL's own drivers


@asynccontextmanager
async def by_asyncpg(database: Database) -> AsyncIterator[Way]:
    db = await asyncpg.connect(database.plain)
    try:
        transaction = db.transaction()
        await transaction.start()
        yield Way(db, db.execute, transaction.commit, transaction.rollback)
    finally:
        await db.close()


@asynccontextmanager
async def by_asyncpg_pool(database: Database) -> AsyncIterator[Way]:
    async with asyncpg.create_pool(database.plain, min_size=1) as pool, pool.acquire() as db:
        transaction = db.transaction()
        await transaction.start()
        yield Way(db, db.execute, transaction.commit, transaction.rollback)


@contextmanager
def by_psycopg(database: Database, **options: Any) -> Iterator[Way]:
    with contextlib.closing(psycopg.connect(database.plain, **options)) as db:
        yield Way(db, db.execute, db.commit, db.rollback)


@contextmanager
def by_psycopg_cursor(database: Database) -> Iterator[Way]:
    with contextlib.closing(psycopg.connect(database.plain)) as db, db.cursor() as cursor:
        yield Way(cursor, cursor.execute, db.commit, db.rollback)


@contextmanager
def by_psycopg_begun_by_hand(database: Database) -> Iterator[Way]:
    with contextlib.closing(psycopg.connect(database.plain, autocommit=True)) as db:
        db.execute("BEGIN")
        yield Way(db, db.execute, db.commit, db.rollback)


@asynccontextmanager
async def by_async_psycopg(database: Database) -> AsyncIterator[Way]:
    db = await psycopg.AsyncConnection.connect(database.plain)
    try:
        yield Way(db, db.execute, db.commit, db.rollback)
    finally:
        await db.close()


# ---------------------------------------------------------------- SQLAlchemy, over each of them


def url_for(database: Database, driver: str) -> str:
    """SQLAlchemy's URL."""
    if driver in ("pysqlite", "aiosqlite"):
        return f"sqlite+{driver}:///{database.plain}"
    return database.plain.replace("postgresql://", f"postgresql+{driver}://")


@contextmanager
def _engine(database: Database, driver: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url_for(database, driver))
    try:
        yield engine
    finally:
        engine.dispose()


@asynccontextmanager
async def _async_engine(database: Database, driver: str) -> AsyncIterator[Any]:
    engine = create_async_engine(url_for(database, driver))
    try:
        yield engine
    finally:
        await engine.dispose()


def _of(session: Any) -> Way:
    return Way(session, lambda sql: session.execute(sa.text(sql)), session.commit, session.rollback)


@contextmanager
def by_connection(database: Database, driver: str) -> Iterator[Way]:
    with _engine(database, driver) as engine, engine.connect() as connection:
        yield _of(connection)


@contextmanager
def by_session(database: Database, driver: str) -> Iterator[Way]:
    with _engine(database, driver) as engine, Session(engine) as session:
        yield _of(session)


@contextmanager
def by_scoped_session(database: Database, driver: str) -> Iterator[Way]:
    with _engine(database, driver) as engine:
        session = scoped_session(sessionmaker(engine))
        yield _of(session)
        session.remove()


@asynccontextmanager
async def by_async_connection(database: Database, driver: str) -> AsyncIterator[Way]:
    async with _async_engine(database, driver) as engine, engine.connect() as connection:
        yield _of(connection)


@asynccontextmanager
async def by_async_session(database: Database, driver: str) -> AsyncIterator[Way]:
    async with _async_engine(database, driver) as engine, AsyncSession(engine) as session:
        yield _of(session)


@asynccontextmanager
async def by_async_scoped_session(database: Database, driver: str) -> AsyncIterator[Way]:
    async with _async_engine(database, driver) as engine:
        session = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
        yield _of(session)
        await session.remove()


def _sqlalchemy(driver: str) -> dict[str, Callable[[Database], Any]]:
    kinds = [by_connection, by_session, by_scoped_session]
    if driver in ("aiosqlite", "asyncpg"):
        kinds = []
    asynchronous = [by_async_connection, by_async_session, by_async_scoped_session] if driver != "pysqlite" else []
    return {
        f"SQLAlchemy {kind.__name__.removeprefix('by_')} over {driver}": lambda database, kind=kind: kind(
            database, driver
        )
        for kind in (*kinds, *asynchronous)
    }


SQLITE: dict[str, Callable[[Database], Any]] = {
    "sqlite3": by_sqlite3,
    "sqlite3 immediate": lambda database: by_sqlite3(database, isolation_level="IMMEDIATE"),
    "sqlite3 begun by hand": lambda database: by_sqlite3(database, isolation_level=None),
    "sqlite3 cursor": by_sqlite3_cursor,
    "sqlite3 with factories": by_sqlite3_with_factories,
    "aiosqlite": by_aiosqlite,
    **_sqlalchemy("pysqlite"),
    **_sqlalchemy("aiosqlite"),
}
POSTGRES: dict[str, Callable[[Database], Any]] = {
    "asyncpg": by_asyncpg,
    "asyncpg pool": by_asyncpg_pool,
    "psycopg": by_psycopg,
    "psycopg with rows": lambda database: by_psycopg(database, row_factory=dict_row),
    "psycopg cursor": by_psycopg_cursor,
    "psycopg begun by hand": by_psycopg_begun_by_hand,
    "psycopg async": by_async_psycopg,
    **_sqlalchemy("psycopg"),
    **_sqlalchemy("asyncpg"),
}
WAYS = SQLITE | POSTGRES
BLOCKING = [name for name in WAYS if "async" not in name and "aio" not in name]


@asynccontextmanager
async def opened(name: str, database: Database) -> AsyncIterator[Way]:
    way = WAYS[name](database)
    if hasattr(way, "__aenter__"):
        async with way as it:
            yield it
    else:
        with way as it:
            yield it
