"""The spool before real servers that are killed and started again: all arrive, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from kurir import Kurir, Settings
from kurir.core.message import State
from kurir.simulator.harness import Telegram
from tests.servers import Engine, PostgresServer, RedisServer, private

CHATS = (41, 42, 43)
PATIENCE = 60.0  # seconds


@pytest.fixture
def server(engine: Engine) -> Iterator[PostgresServer | RedisServer]:
    """Durable, and the test's own."""
    with private(engine) as server:
        yield server


def make(server: PostgresServer | RedisServer, telegram: Telegram, folder: Path, *, courier: bool = True) -> Kurir:
    """One of several processes on this machine."""
    return Kurir(
        server.url,
        telegram.token,
        courier=courier,
        settings=Settings(),
        telegram_url=telegram.url,
        pace="off",
        spool=folder / "spool.db",
    )


async def test_a_stream_of_messages_outlives_kills_of_the_server(
    server: PostgresServer | RedisServer, telegram: Telegram, tmp_path: Path
) -> None:
    ids: list[str] = []
    spooled = 0

    async def submit(kurir: Kurir, first: int, count: int) -> None:
        """One after the other, so that their order is known."""
        nonlocal spooled
        for number in range(first, first + count):
            receipt = await kurir.send_text(CHATS[number % len(CHATS)], f"number {number}")
            ids.append(receipt.id)
            spooled += receipt.spooled

    async with make(server, telegram, tmp_path) as sender, make(server, telegram, tmp_path, courier=False) as other:
        await submit(sender, 0, 60)
        for turn in range(2):
            await asyncio.to_thread(server.kill)
            await submit(sender, 60 + 120 * turn, 60)
            await submit(other, 120 + 120 * turn, 60)  # what goes through another process goes behind it too
            await asyncio.to_thread(server.start)
        assert spooled >= 200
        for id in ids:
            assert (await sender.end(id, PATIENCE)).state is State.DELIVERED
        assert not (await sender.send_text(44, "The end")).spooled
    for chat in CHATS:
        assert telegram.texts(chat) == [f"number {n}" for n in range(300) if CHATS[n % len(CHATS)] == chat]


async def test_files_reach_the_store_when_it_is_back(
    server: PostgresServer | RedisServer, telegram: Telegram, tmp_path: Path
) -> None:
    async with make(server, telegram, tmp_path) as kurir:
        await asyncio.to_thread(server.kill)
        receipt = await kurir.send_photo(42, b"%a photo")
        assert receipt.spooled
        await asyncio.to_thread(server.start)
        assert (await receipt.delivered(timeout=PATIENCE))["photo"]


async def test_results_that_could_not_be_told_are_kept_and_settled_when_the_server_is_back_though_another_stands_by(
    server: PostgresServer | RedisServer, telegram: Telegram, tmp_path: Path
) -> None:
    telegram.fail("slow", seconds=1.5)  # done, and answered when the server is gone
    async with make(server, telegram, tmp_path) as kurir, make(server, telegram, tmp_path):
        receipts = [await kurir.send_text(100 + number, "Hello") for number in range(20)]
        await asyncio.to_thread(telegram.wait_for, 1, None, PATIENCE)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(8.0)  # longer than the lease lasts
        await asyncio.to_thread(server.start)
        for receipt in receipts:
            record = await receipt.ended(PATIENCE)
            assert (record.state, record.doubts) == (State.DELIVERED, 0)
    assert all(telegram.texts(100 + number) == ["Hello"] for number in range(20))


async def test_results_that_could_not_be_told_before_a_stop_are_settled_by_the_next_process_of_the_machine(
    server: PostgresServer | RedisServer, telegram: Telegram, tmp_path: Path
) -> None:
    telegram.fail("slow", seconds=1.5)  # done, and answered when the server is gone
    kurir = make(server, telegram, tmp_path)
    await kurir.start()
    receipts = [await kurir.send_text(100 + number, "Hello") for number in range(20)]
    await asyncio.to_thread(telegram.wait_for, 20, None, PATIENCE)
    await asyncio.to_thread(server.kill)
    await kurir.close(grace=2.5)
    await asyncio.to_thread(server.start)
    async with make(server, telegram, tmp_path) as kurir:
        for receipt in receipts:
            await kurir.end(receipt.id, PATIENCE)
            record = await kurir.get(receipt.id)
            assert (record.state, record.doubts) == (State.DELIVERED, 0)
    assert all(telegram.texts(100 + number) == ["Hello"] for number in range(20))
