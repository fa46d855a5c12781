"""The gateway while the store is away: a send is spooled, and its client waits as ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kurir.simulator.harness import Telegram
from kurir.stores.sqlite import SqliteStore
from tests.outages import Outages, with_outages

from .helpers import Door, opened, until
from .test_answers import PICTURE, form


@pytest.fixture
async def spooling(telegram: Telegram, tmp_path: Path) -> AsyncIterator[tuple[Door, Outages]]:
    store, outages = with_outages(SqliteStore(tmp_path / "kurir.db"))
    spool, files = tmp_path / "spool.db", tmp_path / "files"
    async with opened(telegram, tmp_path, store=store, spool=spool, files=files) as door:
        yield door, outages


async def test_a_client_gets_telegrams_answer_when_the_store_comes_back_in_time(
    spooling: tuple[Door, Outages],
) -> None:
    door, outages = spooling
    outages.leave()
    asking = asyncio.ensure_future(door.send(42, "Hello"))
    await until(lambda: door.accepted == 1)
    outages.come_back()
    answered = await asking
    assert answered.result["text"] == "Hello"
    assert answered.result["message_id"] > 0


async def test_a_client_that_waited_in_vain_gets_504_and_the_message_lives_on(
    spooling: tuple[Door, Outages], telegram: Telegram
) -> None:
    door, outages = spooling
    outages.leave()
    answered = await door.send(42, "Hello", prefer="wait=1")
    assert answered.status == 504
    assert answered.message in answered.body["description"]
    again = asyncio.ensure_future(door.send(42, "Hello"))  # joins the first one
    await asyncio.sleep(0.2)
    outages.come_back()
    assert (await again).message == answered.message
    assert telegram.texts(42) == ["Hello"]


async def test_a_placeholder_cannot_be_given_and_nothing_is_spooled(
    spooling: tuple[Door, Outages], telegram: Telegram
) -> None:
    door, outages = spooling
    outages.leave()
    answered = await door.send(42, "Hello", prefer="respond-async")
    code, words = answered.refusal
    assert code == 503
    assert "connection refused" in words
    assert door.accepted == 0
    outages.come_back()
    assert (await door.send(42, "Hello", prefer="respond-async")).result["message_id"] < 0
    await door.texts(1, 42)
    assert telegram.texts(42) == ["Hello"]


async def test_who_joins_a_spooled_call_gets_a_placeholder_once_it_has_a_number(spooling: tuple[Door, Outages]) -> None:
    door, outages = spooling
    outages.leave()
    first = await door.send(42, "Hello", prefer="wait=0")
    assert first.status == 504
    joined = await door.send(42, "Hello", prefer="respond-async, wait=0")
    assert (joined.status, joined.message) == (504, first.message)
    outages.come_back()


async def test_a_photo_waits_in_the_spool(spooling: tuple[Door, Outages], telegram: Telegram) -> None:
    door, outages = spooling
    outages.leave()
    asking = asyncio.ensure_future(door.ask("sendPhoto", data=form({"chat_id": 42}, photo=PICTURE)))
    await until(lambda: door.accepted == 1)
    outages.come_back()
    assert (await asking).result["photo"]


async def test_the_gateway_opens_before_its_store(telegram: Telegram, tmp_path: Path) -> None:
    store, outages = with_outages(SqliteStore(tmp_path / "kurir.db"))
    outages.leave()
    async with opened(telegram, tmp_path, store=store, spool=tmp_path / "spool.db") as door:
        asking = asyncio.ensure_future(door.send(42, "Hello"))
        await until(lambda: door.accepted == 1)
        outages.come_back()
        assert (await asking).result["text"] == "Hello"
