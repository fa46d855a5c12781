"""Submits inside the caller's own transaction on the SQLite file: what cannot be joined, and what comes after."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from kurir import (
    DeliveryTimeout,
    InvalidMessage,
    Kurir,
    NotFound,
    SchemaMismatch,
    Settings,
    StoreAway,
)
from kurir.blocking import BlockingKurir
from kurir.core.events import Submitted
from kurir.services import receipts as receipts_of
from kurir.stores.sqlite import SqliteStore

from .helpers import TOKEN, playing, until

URL = "sqlite:///kurir.db"


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


def kept() -> list[str]:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        return [row[0] for row in db.execute("SELECT json_extract(params, '$.text') FROM messages ORDER BY rowid")]


def orders() -> list[int]:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        return [row[0] for row in db.execute("SELECT id FROM orders ORDER BY id")]


@pytest.fixture(autouse=True)
def shop(elsewhere: None) -> None:
    """The application's own table is in the store's file."""
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")


@pytest.fixture
async def kurir() -> AsyncIterator[Kurir]:
    async with Kurir(URL, TOKEN, courier=False, settings=Settings()) as kurir:
        yield kurir


# ---------------------------------------------------------------- what cannot be joined


async def test_a_connection_that_would_commit_at_once_is_refused(kurir: Kurir) -> None:
    db = sqlite3.connect("kurir.db", isolation_level=None)
    with contextlib.closing(db), pytest.raises(InvalidMessage, match=r"is in no transaction.*BEGIN IMMEDIATE"):
        await kurir.send_text(42, "x", connection=db)
    with contextlib.closing(sa.create_engine(URL, isolation_level="AUTOCOMMIT").connect()) as c:
        with pytest.raises(InvalidMessage, match="is in no transaction"):
            await kurir.send_text(42, "x", connection=c)
        c.engine.dispose()
    assert kept() == []


async def test_another_database_is_refused(kurir: Kurir) -> None:
    for file in ("other.db", ":memory:"):
        with contextlib.closing(sqlite3.connect(file)) as db:
            with pytest.raises(InvalidMessage, match="KURIR_STORE") as refused:
                await kurir.send_text(42, "x", connection=db)
            assert refused.value.field == "connection"
            assert not db.in_transaction


async def test_a_connection_that_is_closed_is_refused(kurir: Kurir) -> None:
    plain = sqlite3.connect("kurir.db")
    plain.close()
    async with aiosqlite.connect("kurir.db") as asynchronous:
        pass
    for db in (plain, asynchronous):
        with pytest.raises(InvalidMessage, match=r"cannot be used.*closed"):
            await kurir.send_text(42, "x", connection=db)


async def test_what_is_no_connection_is_refused_in_words(kurir: Kurir) -> None:
    for thing in ("kurir.db", object(), sa.create_engine("sqlite://")):
        with pytest.raises(InvalidMessage, match=r"^connection: is a .*Give a connection of asyncpg"):
            await kurir.send_text(42, "x", connection=thing)


async def test_a_session_of_several_databases_is_refused_in_words(kurir: Kurir) -> None:
    with Session() as session, pytest.raises(InvalidMessage, match="cannot be used"):
        await kurir.send_text(42, "x", connection=session)


async def test_a_session_that_failed_is_refused_in_words_until_it_is_rolled_back(kurir: Kurir) -> None:
    engine = sa.create_engine(URL)
    with Session(engine) as session:
        session.add(Order(id=1))
        session.commit()
        session.add(Order(id=1))
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()
        with pytest.raises(InvalidMessage, match=r"cannot be used.*rolled back"):
            await kurir.send_text(42, "x", connection=session)
        session.rollback()
        await kurir.send_text(42, "y", connection=session)
        session.commit()
    engine.dispose()
    assert kept() == ["y"]


async def test_a_store_without_transactions_is_refused() -> None:
    db = sqlite3.connect("kurir.db")
    async with Kurir("memory://", TOKEN, courier=False, settings=Settings()) as kurir:
        with contextlib.closing(db), pytest.raises(InvalidMessage, match=r"cannot be joined.*KURIR_STORE"):
            await kurir.send_text(42, "x", connection=db)


def test_a_blocking_kurir_refuses_what_is_asynchronous() -> None:
    with BlockingKurir(URL, TOKEN, settings=Settings()) as kurir:
        for thing in (AsyncSession(), aiosqlite.core.Connection(lambda: sqlite3.connect("kurir.db"), 1)):
            with pytest.raises(InvalidMessage, match=r"is asynchronous.*event loop"):
                kurir.send_text(42, "x", connection=thing)


async def test_an_invalid_message_begins_nothing(kurir: Kurir) -> None:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        with pytest.raises(InvalidMessage):
            await kurir.send_text(42, "", connection=db)
        assert not db.in_transaction
        await kurir.submit([], connection=db)
        assert not db.in_transaction


async def test_a_transaction_that_read_what_changed_since_is_told_what_to_do(kurir: Kurir) -> None:
    with contextlib.closing(sqlite3.connect("kurir.db", isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM orders").fetchone()
        await kurir.send_text(42, "in between")
        with pytest.raises(StoreAway, match="BEGIN IMMEDIATE"):
            await kurir.send_text(42, "x", connection=db)
        assert db.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        db.execute("ROLLBACK")
    assert kept() == ["in between"]


async def test_a_failure_on_the_way_leaves_nothing_of_the_batch_in_the_transaction(kurir: Kurir) -> None:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        db.execute("INSERT INTO orders VALUES (1)")
        db.create_function("boom", 0, lambda: 1 / 0)
        db.execute(
            "CREATE TEMP TRIGGER late BEFORE UPDATE ON sequence WHEN new.last > old.last BEGIN SELECT boom(); END"
        )
        with pytest.raises(StoreAway):
            await kurir.send_text(42, "x", connection=db)
        db.commit()
    assert (kept(), orders()) == ([], [1])


@pytest.mark.parametrize("sql", ["CREATE TABLE message (id INTEGER)", "PRAGMA user_version = 3"])
async def test_a_file_in_which_another_program_has_our_names_is_refused_in_words(sql: str) -> None:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        db.execute(sql)
    with pytest.raises(SchemaMismatch, match=r"another program's.*a file of its own"):
        await SqliteStore("kurir.db").open()
    assert orders() == []


# ---------------------------------------------------------------- afterwards


async def test_a_courier_sends_it_when_it_has_committed_and_not_before(tmp_path: Any) -> None:
    async with playing(SqliteStore("kurir.db")) as (kurir, stage):
        with contextlib.closing(sqlite3.connect("kurir.db")) as db:
            receipt = await kurir.send_text(42, "x", connection=db)
            waiting = asyncio.create_task(receipt.delivered(timeout=10))
            await asyncio.sleep(0.2)
            assert not any(isinstance(event, Submitted) for event in stage.heard)
            assert stage.texts(42) == []
            committed = time.monotonic()
            db.commit()
            assert (await waiting)["text"] == "x"
            assert time.monotonic() - committed < 0.5
        assert stage.texts(42) == ["x"]


async def test_a_receipt_waits_for_the_commit_and_gives_up_on_a_rollback(
    kurir: Kurir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        receipt = await kurir.send_text(42, "x", connection=db)
        with pytest.raises(DeliveryTimeout):
            await receipt.delivered(timeout=0.05)
        db.rollback()
        monkeypatch.setattr(receipts_of, "APPEARS", 0.1)
        with pytest.raises(NotFound):
            await receipt.delivered(timeout=10)


async def test_other_writers_wait_for_a_transaction_that_is_open(kurir: Kurir) -> None:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        await kurir.send_text(42, "joined", connection=db)
        other = asyncio.create_task(kurir.send_text(42, "alone"))
        await asyncio.sleep(0.1)
        assert not other.done()
        db.commit()
        await other
    assert kept() == ["joined", "alone"]
    await until(lambda: kept() == ["joined", "alone"], kurir.clock)
