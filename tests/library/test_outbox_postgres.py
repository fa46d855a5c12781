"""Submits inside the caller's own transaction on PostgreSQL: what cannot be joined, and what comes after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from kurir import InvalidMessage, KeyConflict, KeyHeld, Kurir, Settings, StoreError
from kurir.blocking import BlockingKurir
from kurir.core.events import Submitted
from kurir.stores.postgres import PostgresStore
from tests.servers import PostgresServer

from .helpers import TOKEN, playing, until


@pytest.fixture
async def kurir(postgres_url: str) -> AsyncIterator[Kurir]:
    async with Kurir(postgres_url, TOKEN, courier=False, settings=Settings()) as kurir:
        yield kurir


@pytest.fixture
def plain(postgres_url: str) -> str:
    """What a driver connects to."""
    return postgres_url.partition("?")[0]


@pytest.fixture
def schema(postgres_url: str) -> str:
    return postgres_url.partition("schema=")[2]


async def count(kurir: Kurir) -> int:
    return len((await kurir.find(limit=1000)).items)


# ---------------------------------------------------------------- what cannot be joined


async def test_a_connection_that_would_commit_at_once_is_refused(kurir: Kurir, plain: str) -> None:
    db = await asyncpg.connect(plain)
    with pytest.raises(InvalidMessage, match=r"is in no transaction.*connection\.transaction\(\)"):
        await kurir.send_text(42, "x", connection=db)
    await db.close()
    with psycopg.connect(plain, autocommit=True) as connection:
        with pytest.raises(InvalidMessage, match="is in no transaction"):
            await kurir.send_text(42, "x", connection=connection)
        with connection.transaction():
            await kurir.send_text(42, "x", connection=connection)
    for driver in ("asyncpg", "psycopg"):
        engine = create_async_engine(plain.replace("://", f"+{driver}://"), isolation_level="AUTOCOMMIT")
        async with AsyncSession(engine) as session:
            with pytest.raises(InvalidMessage, match="is in no transaction"):
                await kurir.send_text(42, "x", connection=session)
        await engine.dispose()
    assert await count(kurir) == 1


async def test_a_database_without_kurir_is_refused(kurir: Kurir, plain: str, postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE DATABASE elsewhere")
    try:
        connection = psycopg.connect(plain, dbname="elsewhere")
        with connection, pytest.raises(InvalidMessage, match=r"without Kurir's schema .*KURIR_STORE") as refused:
            await kurir.send_text(42, "x", connection=connection)
        assert refused.value.field == "connection"
    finally:
        postgres_server.execute("DROP DATABASE elsewhere")


async def test_another_database_that_has_a_kurir_of_its_own_is_refused(
    kurir: Kurir, plain: str, schema: str, postgres_server: PostgresServer
) -> None:
    """A copy of the store is not the store."""
    postgres_server.execute("CREATE DATABASE staging")
    try:
        theirs = plain.removesuffix("postgres") + "staging"
        async with Kurir(f"{theirs}?schema={schema}", TOKEN, courier=False, settings=Settings()) as other:
            with psycopg.connect(theirs) as connection:
                connection.execute("CREATE TABLE orders (id integer)")
                with pytest.raises(InvalidMessage, match=r"is to another database than .*KURIR_STORE"):
                    await kurir.send_text(42, "x", connection=connection)
                await other.send_text(42, "x", connection=connection)  # the transaction goes on
            assert await count(other) == 1
    finally:
        postgres_server.execute("DROP DATABASE staging WITH (FORCE)")
    assert await count(kurir) == 0


async def test_a_connection_to_sqlite_is_refused(kurir: Kurir) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(InvalidMessage, match=r"the store is PostgreSQL.*KURIR_STORE"):
        await kurir.send_text(42, "x", connection=connection)
    engine.dispose()


async def test_a_transaction_that_has_failed_is_told(kurir: Kurir, plain: str) -> None:
    with psycopg.connect(plain) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
        with pytest.raises(StoreError, match="roll it back") as refused:
            await kurir.send_text(42, "x", connection=connection)
        assert isinstance(refused.value.__cause__, psycopg.errors.InFailedSqlTransaction)
        connection.rollback()


async def test_a_connection_that_is_gone_is_told(kurir: Kurir, plain: str, postgres_server: PostgresServer) -> None:
    db = await asyncpg.connect(plain)
    transaction = db.transaction()
    await transaction.start()
    postgres_server.execute(f"SELECT pg_terminate_backend({db.get_server_pid()})")
    with pytest.raises(StoreError):
        await kurir.send_text(42, "x", connection=db)
    db.terminate()


def test_a_blocking_kurir_refuses_what_is_asynchronous(postgres_url: str, plain: str) -> None:
    kurir = BlockingKurir(postgres_url, TOKEN, settings=Settings())
    with kurir, pytest.raises(InvalidMessage, match=r"is asynchronous.*event loop"):
        kurir.send_text(42, "x", connection=AsyncSession())


# ---------------------------------------------------------------- who may


async def test_a_role_needs_no_more_than_usage_of_the_schema(
    kurir: Kurir, plain: str, schema: str, postgres_server: PostgresServer
) -> None:
    postgres_server.execute("CREATE ROLE shopkeeper LOGIN")
    try:
        connection = psycopg.connect(plain, user="shopkeeper")
        with connection, pytest.raises(StoreError, match="GRANT USAGE ON SCHEMA"):
            await kurir.send_text(42, "x", connection=connection)
        postgres_server.execute(f"GRANT USAGE ON SCHEMA {schema} TO shopkeeper")
        with psycopg.connect(plain, user="shopkeeper") as connection:
            await kurir.send_text(42, "x", connection=connection)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f'SELECT * FROM "{schema}".message')
            connection.rollback()
            await kurir.send_text(42, "y", connection=connection)
        assert await count(kurir) == 1
    finally:
        postgres_server.execute(f"REVOKE USAGE ON SCHEMA {schema} FROM shopkeeper; DROP ROLE shopkeeper")


# ---------------------------------------------------------------- beside each other


async def test_a_commit_is_on_disk_even_where_the_application_would_not_wait(kurir: Kurir, plain: str) -> None:
    with psycopg.connect(plain, options="-c synchronous_commit=off") as connection:
        await kurir.send_text(42, "x", connection=connection)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        connection.commit()
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)


async def test_a_key_that_another_open_transaction_has_is_waited_for(kurir: Kurir, plain: str) -> None:
    first = await asyncpg.connect(plain)
    second = await asyncpg.connect(plain)
    transaction = first.transaction()
    await transaction.start()
    receipt = await kurir.send_text(42, "x", idempotency_key="k", connection=first)

    async def other() -> None:
        async with second.transaction():
            again = await kurir.send_text(42, "x", idempotency_key="k", connection=second)
            assert (again.id, again.duplicate) == (receipt.id, True)
            with pytest.raises(KeyConflict):
                await kurir.send_text(42, "y", idempotency_key="k", connection=second)

    waiting = asyncio.create_task(other())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await transaction.commit()
    await waiting
    assert await count(kurir) == 1
    await first.close()
    await second.close()


async def test_submits_beside_an_open_transaction_with_their_key_are_refused_soon_and_take_nobody_along(
    kurir: Kurir, plain: str
) -> None:
    with psycopg.connect(plain) as connection:
        first = await kurir.send_text(42, "x", idempotency_key="k", connection=connection)
        held = [asyncio.create_task(kurir.send_text(42, "x", idempotency_key="k")) for _ in range(40)]
        async with asyncio.timeout(4.0):
            assert not (await kurir.send_text(43, "y", idempotency_key="another")).duplicate
            await asyncio.gather(*(kurir.send_text(100 + n, "y") for n in range(40)))
        answers = await asyncio.gather(*held, return_exceptions=True)
        assert [type(answer) for answer in answers] == [KeyHeld] * 40
        await kurir.send_text(44, "z")  # the breaker did not take it for an outage
    again = await kurir.send_text(42, "x", idempotency_key="k")
    assert (again.id, again.duplicate) == (first.id, True)


async def test_an_open_transaction_holds_up_its_own_chats_alone(kurir: Kurir, plain: str) -> None:
    await kurir.send_text(42, "before")
    with psycopg.connect(plain) as connection:
        await kurir.send_text(42, "joined", connection=connection)
        async with asyncio.timeout(2.0):
            await kurir.send_text(43, "another chat")
        assert await count(kurir) == 2


# ---------------------------------------------------------------- afterwards


async def test_a_courier_sends_it_when_it_has_committed_and_not_before(postgres_url: str, plain: str) -> None:
    async with playing(PostgresStore(postgres_url)) as (kurir, stage):
        db = await asyncpg.connect(plain)
        transaction = db.transaction()
        await transaction.start()
        receipt = await kurir.send_text(42, "x", connection=db)
        waiting = asyncio.create_task(receipt.delivered(timeout=10))
        await asyncio.sleep(0.2)
        assert not any(isinstance(event, Submitted) for event in stage.heard)
        assert stage.texts(42) == []
        committed = time.monotonic()
        await transaction.commit()
        assert (await waiting)["text"] == "x"
        assert time.monotonic() - committed < 0.5
        await db.close()
        assert stage.texts(42) == ["x"]


async def test_chats_with_something_waiting_already_are_joined_while_couriers_send(
    postgres_url: str, plain: str
) -> None:
    async with playing(PostgresStore(postgres_url)) as (kurir, stage):
        db = await asyncpg.connect(plain)
        for n in range(20):
            await kurir.send_text(1 + n % 3, f"alone {n}")
            async with db.transaction():
                await kurir.send_text(1 + n % 3, f"joined {n}", connection=db)
                await asyncio.sleep(0.01)
        await until(lambda: sum(len(stage.texts(chat)) for chat in (1, 2, 3)) == 40, kurir.clock)
        await db.close()
        for chat in (1, 2, 3):
            texts = stage.texts(chat)
            assert texts == [text for n in range(chat - 1, 20, 3) for text in (f"alone {n}", f"joined {n}")]
