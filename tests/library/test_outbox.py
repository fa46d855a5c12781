"""Submits inside the caller's own transaction: the messages exist iff it commits, whatever the kind of connection."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import psycopg
import pytest

from kurir import KeyConflict, Kurir, Message, NotFound, Settings, State
from kurir.blocking import BlockingKurir
from kurir.ports import Page
from tests.servers import first_postgres, shared

from .helpers import TOKEN
from .ways import BLOCKING, SQLITE, WAYS, Database, Way, opened


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Iterator[Database]:
    if kind in SQLITE:
        yield Database(f"sqlite:///{folder}/kurir.db", f"{folder}/kurir.db", "orders")
        return
    with shared(first_postgres()).fresh() as url:
        plain, _, schema = url.partition("?schema=")
        yield Database(url, plain, f"{schema}.orders")


@pytest.fixture(params=list(WAYS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def database(kind: str, tmp_path: Path) -> Iterator[Database]:
    with _database(kind, tmp_path) as database:
        yield database


@pytest.fixture
async def kurir(database: Database) -> AsyncIterator[Kurir]:
    async with Kurir(database.store, TOKEN, courier=False, settings=Settings()) as kurir:
        _execute(database, f"CREATE TABLE {database.orders} (id integer PRIMARY KEY)")
        yield kurir


@pytest.fixture
async def way(kurir: Kurir, kind: str, database: Database) -> AsyncIterator[Way]:
    async with opened(kind, database) as way:
        yield way


def _execute(database: Database, sql: str) -> list[int]:
    """By a connection of its own; the first column of what it answers."""
    if database.store.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(database.plain)) as db:
            return [row[0] for row in db.execute(sql)]
    with psycopg.connect(database.plain, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return [row[0] for row in cursor] if cursor.description else []


def orders(database: Database) -> list[int]:
    return _execute(database, f"SELECT id FROM {database.orders} ORDER BY id")


def texts(page: Page) -> list[str]:
    return [orjson.loads(record.params).get("text", "") for record in page.items]


async def kept(kurir: Kurir) -> list[str]:
    """The texts of all messages, as others see them."""
    return texts(await kurir.find(oldest_first=True, limit=1000))


async def test_a_commit_leaves_exactly_one(kurir: Kurir, way: Way, database: Database) -> None:
    await way.execute(f"INSERT INTO {database.orders} VALUES (1)")
    receipt = await kurir.send_text(42, "x", connection=way.connection)
    assert await kept(kurir) == []
    await way.commit()
    assert await kept(kurir) == ["x"]
    assert orders(database) == [1]
    assert (await receipt.record()).state is State.WAITING


async def test_one_that_comes_before_all_else_of_the_transaction_is_in_it(
    kurir: Kurir, way: Way, database: Database
) -> None:
    await kurir.send_text(42, "x", connection=way.connection)
    await way.execute(f"INSERT INTO {database.orders} VALUES (1)")
    assert await kept(kurir) == []
    await way.commit()
    assert (await kept(kurir), orders(database)) == (["x"], [1])


async def test_a_rollback_leaves_none(kurir: Kurir, way: Way, database: Database) -> None:
    await way.execute(f"INSERT INTO {database.orders} VALUES (1)")
    receipt = await kurir.send_text(42, "x", connection=way.connection)
    await way.rollback()
    assert (await kept(kurir), orders(database)) == ([], [])
    with pytest.raises(NotFound):
        await receipt.record()
    assert not any(bot.waiting or bot.lanes for bot in (await kurir.stats()).bots)


async def test_a_savepoint_that_is_rolled_back_leaves_none(kurir: Kurir, way: Way, database: Database) -> None:
    await way.execute(f"INSERT INTO {database.orders} VALUES (1)")
    await kurir.send_text(42, "kept", connection=way.connection)
    await way.execute("SAVEPOINT inner_one")
    await way.execute(f"INSERT INTO {database.orders} VALUES (2)")
    await kurir.send_text(42, "gone", connection=way.connection)
    await way.execute("ROLLBACK TO inner_one")
    await kurir.send_text(42, "kept too", connection=way.connection)
    await way.commit()
    assert (await kept(kurir), orders(database)) == (["kept", "kept too"], [1])
    (bot,) = (await kurir.stats()).bots
    assert bot.waiting == 2


async def test_a_key_conflict_leaves_the_transaction_usable(kurir: Kurir, way: Way, database: Database) -> None:
    first = await kurir.send_text(42, "first", idempotency_key="k")
    await way.execute(f"INSERT INTO {database.orders} VALUES (1)")
    with pytest.raises(KeyConflict) as refused:
        await kurir.submit(
            [Message("sendMessage", {"chat_id": 1, "text": text}, idempotency_key="k") for text in ("other", "third")],
            connection=way.connection,
        )
    assert (refused.value.key, refused.value.id) == ("k", first.id)
    again = await kurir.send_text(42, "first", idempotency_key="k", connection=way.connection)
    assert again.duplicate
    await way.commit()
    assert (await kept(kurir), orders(database)) == (["first"], [1])


async def test_many_in_a_batch_and_with_all_that_a_message_can_have(kurir: Kurir, way: Way) -> None:
    messages = [
        Message("sendMessage", {"chat_id": n % 7, "text": f"m{n}"}, metadata={"n": n}, idempotency_key=f"k{n}")
        for n in range(300)
    ]
    receipts = await kurir.submit(messages, connection=way.connection)
    photo = await kurir.send_photo(42, b"a photo", caption="p", connection=way.connection)
    await way.commit()
    assert len({receipt.id for receipt in receipts}) == 300
    assert (await kept(kurir))[:300] == [f"m{n}" for n in range(300)]
    assert (await photo.record()).files[0].size == 7
    assert len((await kurir.find(metadata={"n": 5})).items) == 1


@pytest.mark.parametrize("kind", BLOCKING)
def test_a_blocking_kurir_works_in_the_callers_thread(kind: str, database: Database) -> None:
    """`sqlite3` itself refuses a connection in another thread."""
    with BlockingKurir(database.store, TOKEN, settings=Settings()) as kurir, WAYS[kind](database) as way:
        receipt = kurir.send_text(42, "x", connection=way.connection)
        batch = kurir.submit([Message("sendMessage", {"chat_id": 1, "text": "y"})], connection=way.connection)
        photo = kurir.send_photo(42, b"a photo", connection=way.connection)
        assert texts(kurir.find()) == []
        way.commit_now()
        assert texts(kurir.find(oldest_first=True))[:2] == ["x", "y"]
        assert receipt.record().id == receipt.id
        assert [one.state for one in batch] == [State.WAITING]
        assert photo.record().files[0].size == 7


@pytest.mark.parametrize("kind", BLOCKING)
def test_a_blocking_kurir_leaves_none_of_what_is_rolled_back(kind: str, database: Database) -> None:
    with BlockingKurir(database.store, TOKEN, settings=Settings()) as kurir, WAYS[kind](database) as way:
        kurir.send_text(42, "x", connection=way.connection)
        way.rollback_now()
        kurir.send_text(42, "alone")
        assert texts(kurir.find()) == ["alone"]
