"""An order and its message share their fate: 1,000 SQLAlchemy sessions, and SIGKILL in between."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa

from kurir import Kurir, Settings
from tests.servers import PostgresServer, first_postgres

from .outbox import tables
from .processes import Program
from .programs import TOKEN

SESSIONS = 1000
SHOPS = 2  # at once


async def _texts(kurir: Kurir) -> list[str]:
    """The texts of all messages there are."""
    texts, cursor = [], None
    while True:
        page = await kurir.find(limit=1000, cursor=cursor)
        texts += [orjson.loads(record.params)["text"] for record in page.items]
        if page.next is None:
            return texts
        cursor = page.next


async def _an_order_and_its_message_share_their_fate(store: str, driver: str, plain: str, log: Path) -> None:
    """`driver`: SQLAlchemy's URL that the shops use; `plain`: one to look with."""
    rng = random.Random(5)
    with tables(plain):
        pass
    async with Kurir(store, TOKEN, courier=False, settings=Settings()) as kurir:
        shops = [Program(store, driver, seed, log, module="tests.crash.outbox") for seed in range(SHOPS)]
        await asyncio.gather(*(shop.start() for shop in shops))
        while not log.exists() or log.read_bytes().count(b"\n") < SESSIONS:
            await asyncio.sleep(rng.uniform(0.0, 0.3))
            shop = rng.choice(shops)
            await shop.kill()
            await shop.start()
        for shop in shops:
            await shop.kill()
        messages = Counter(await _texts(kurir))
        (bot,) = (await kurir.stats()).bots
    with tables(plain) as connection:
        orders = {row[0] for row in connection.execute(sa.text("SELECT id FROM orders"))}
    kills = sum(shop.kills for shop in shops)
    sessions = log.read_bytes().count(b"\n")
    print(f"{sessions} sessions, {kills} kills: {len(orders)} orders, {sum(messages.values())} messages")
    assert kills >= 5
    assert orders
    assert set(messages) == orders
    assert max(messages.values()) == 1
    assert bot.waiting == len(orders)


@pytest.mark.parametrize("driver", ["pysqlite", "aiosqlite"])
async def test_in_sqlite(driver: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    plain = f"sqlite:///{file}"
    await _an_order_and_its_message_share_their_fate(plain, f"sqlite+{driver}:///{file}", plain, tmp_path / "log")


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_in_postgres(driver: str, tmp_path: Path) -> None:
    with PostgresServer(first_postgres()) as server:
        plain = server.url.replace("://", "+psycopg://")
        database = server.url.replace("://", f"+{driver}://")
        await _an_order_and_its_message_share_their_fate(server.url, database, plain, tmp_path / "log")
