"""A shop that is killed: `python -m tests.crash.outbox STORE DATABASE SEED LOG`.

Each of its SQLAlchemy sessions adds an order and submits the message about it, then commits or rolls back. `DATABASE` is
SQLAlchemy's URL of the store's own database; with an asynchronous driver the sessions are, too. A line in LOG is a session
that was begun.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from kurir import Kurir, Message, Settings
from kurir.blocking import BlockingKurir

from .programs import TOKEN

ASYNC = ("asyncpg", "aiosqlite")
ROLLED_BACK = 0.3  # of the sessions
LONGEST_PAUSE = 0.012  # seconds
PATIENCE = 30  # seconds to wait for SQLite's write lock


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)


class Shop:
    def __init__(self, seed: int, log: Path) -> None:
        self._rng = random.Random(seed)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def sessions(self) -> Iterator[tuple[list[str], bool]]:
        """The orders of one session, and whether it commits."""
        while True:
            os.write(self._log, b"begun\n")
            yield [uuid.uuid4().hex for _ in range(self._rng.choice((1, 1, 1, 3)))], self._rng.random() >= ROLLED_BACK

    def pause(self) -> float:
        """Seconds between the last statement and the end of the transaction."""
        return self._rng.uniform(0.0, LONGEST_PAUSE)

    def messages(self, orders: list[str]) -> list[Message]:
        return [Message("sendMessage", {"chat_id": self._rng.randrange(50), "text": order}) for order in orders]


async def asynchronous(store: str, database: str, shop: Shop) -> None:
    engine = create_async_engine(database, connect_args=_options(database))
    async with Kurir(store, TOKEN, courier=False, settings=Settings(log_level="error")) as kurir:
        print("ready", flush=True)
        for orders, commits in shop.sessions():
            async with AsyncSession(engine) as session:
                session.add_all([Order(id=order) for order in orders])
                await kurir.submit(shop.messages(orders), connection=session)
                await asyncio.sleep(shop.pause())
                await (session.commit() if commits else session.rollback())


def blocking(store: str, database: str, shop: Shop) -> None:
    engine = sa.create_engine(database, connect_args=_options(database))
    with BlockingKurir(store, TOKEN, settings=Settings(log_level="error")) as kurir:
        print("ready", flush=True)
        for orders, commits in shop.sessions():
            with Session(engine) as session:
                session.add_all([Order(id=order) for order in orders])
                kurir.submit(shop.messages(orders), connection=session)
                time.sleep(shop.pause())
                session.commit() if commits else session.rollback()


def _options(database: str) -> dict[str, int]:
    return {"timeout": PATIENCE} if database.startswith("sqlite") else {}


@contextmanager
def tables(database: str) -> Iterator[sa.Connection]:
    """The shop's own tables, by a blocking driver."""
    engine = sa.create_engine(database, connect_args=_options(database))
    try:
        Base.metadata.create_all(engine)
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def main() -> None:
    store, database, seed, log = sys.argv[1:]
    shop = Shop(int(seed), Path(log))
    if any(driver in database for driver in ASYNC):
        asyncio.run(asynchronous(store, database, shop))
    else:
        blocking(store, database, shop)


if __name__ == "__main__":
    main()
