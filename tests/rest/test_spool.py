"""REST while the store is away: an error at once, or the spool of this machine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kurir.simulator.harness import Telegram
from kurir.stores.sqlite import SqliteStore
from kurir.web.auth import Allowance, make_key
from tests.outages import Outages, with_outages

from .door import Door, is_problem, opened, text_to, until


@pytest.fixture
async def spooling(telegram: Telegram, tmp_path: Path) -> AsyncIterator[tuple[Door, Outages]]:
    store, outages = with_outages(SqliteStore(tmp_path / "kurir.db"))
    async with opened(telegram, tmp_path, store=store, spool=tmp_path / "spool.db", allowance=Allowance()) as door:
        yield door, outages


async def test_a_message_is_accepted_with_202_and_says_that_it_is_spooled(
    spooling: tuple[Door, Outages], telegram: Telegram
) -> None:
    door, outages = spooling
    outages.leave()
    got = await door.post("/v1/messages", text_to("Hello"))
    assert got.status == 202
    assert got.json == {"id": got.json["id"], "state": "waiting", "duplicate": False, "spooled": True}
    shown = await door.get(f"/v1/messages/{got.json['id']}")
    assert shown.status == 200
    assert shown.json["state"] == "waiting"
    assert shown.json["reason"].startswith("spooled: ")
    outages.come_back()
    assert (await door.ended(got.json["id"]))["state"] == "delivered"
    assert telegram.texts(42) == ["Hello"]
    assert "spooled" not in (await door.post("/v1/messages", text_to("Again"))).json


async def test_a_list_is_spooled_whole(spooling: tuple[Door, Outages]) -> None:
    door, outages = spooling
    outages.leave()
    got = await door.post("/v1/messages", [text_to("one"), text_to("two")])
    assert [one["spooled"] for one in got.json] == [True, True]
    outages.come_back()
    for one in got.json:
        assert (await door.ended(one["id"]))["state"] == "delivered"


async def test_keys_hold_in_the_spool(spooling: tuple[Door, Outages]) -> None:
    door, outages = spooling
    outages.leave()
    first = await door.post("/v1/messages", {**text_to("Hello"), "idempotency_key": "k"})
    again = await door.post("/v1/messages", {**text_to("Hello"), "idempotency_key": "k"})
    assert again.json == {**first.json, "duplicate": True}
    other = await door.post("/v1/messages", {**text_to("Else"), "idempotency_key": "k"})
    is_problem(other, 409, "key-conflict")
    outages.come_back()


async def test_what_needs_the_store_says_that_it_is_away(spooling: tuple[Door, Outages]) -> None:
    door, outages = spooling
    outages.leave()
    id = await door.send()
    problem = is_problem(await door.post(f"/v1/messages/{id}/cancel"), 503, "store-away")
    assert "is spooled" in problem["detail"]
    is_problem(await door.get("/v1/messages"), 503, "store-away")
    is_problem(await door.get("/v1/messages/nobody"), 503, "store-away")
    outages.come_back()


async def test_without_a_spool_nothing_is_accepted(telegram: Telegram, tmp_path: Path) -> None:
    store, outages = with_outages(SqliteStore(tmp_path / "kurir.db"))
    async with opened(telegram, tmp_path, store=store) as door:
        outages.leave()
        is_problem(await door.post("/v1/messages", text_to()), 503, "store-away")
        outages.come_back()

        async def accepted() -> bool:
            return (await door.post("/v1/messages", text_to())).status == 202

        await until(accepted, "it accepts again")


@pytest.fixture
async def started_while_away(telegram: Telegram, tmp_path: Path) -> AsyncIterator[tuple[Door, Outages, str]]:
    """The store has a key with this secret."""
    inner = SqliteStore(tmp_path / "kurir.db")
    key, secret = make_key("someone", "send", time.time())
    await inner.open()
    await inner.add_key(key)
    await inner.close()
    store, outages = with_outages(inner)
    outages.leave()
    async with opened(telegram, tmp_path, store=store, spool=tmp_path / "spool.db", allowance=Allowance()) as door:
        yield door, outages, secret


async def test_a_service_started_while_the_store_is_away_takes_messages_with_the_key_of_its_settings(
    started_while_away: tuple[Door, Outages, str],
) -> None:
    door, outages, _ = started_while_away
    got = await door.post("/v1/messages", text_to("Hello"))
    assert (got.status, got.json["spooled"]) == (202, True)
    outages.come_back()
    assert (await door.ended(got.json["id"]))["state"] == "delivered"


async def test_it_cannot_tell_of_other_keys_and_says_so_and_knows_them_as_soon_as_the_store_is_back(
    started_while_away: tuple[Door, Outages, str],
) -> None:
    door, outages, secret = started_while_away
    theirs = door.with_key(secret)
    told = is_problem(await theirs.post("/v1/messages", text_to("Hello")), 503, "store-away")
    assert "API key" in told["detail"]
    assert "connection refused" in told["detail"]
    assert "KURIR_API_KEY" in told["remedy"]
    outages.come_back()

    async def known() -> bool:
        return (await theirs.post("/v1/messages", text_to("Hello"))).status == 202

    await until(known, "the key is known")


@pytest.mark.parametrize("header", [None, "Basic YTpi"])
async def test_without_a_key_it_is_401_though_the_store_is_away(
    started_while_away: tuple[Door, Outages, str], header: str | None
) -> None:
    door, outages, _ = started_while_away
    nobody = door.with_key(None)
    headers = {} if header is None else {"Authorization": header}
    problem = is_problem(await nobody.ask("POST", "/v1/messages", json=text_to(), headers=headers), 401, "no-key")
    assert "no API key yet" not in problem["detail"]
    outages.come_back()


async def test_a_key_that_was_seen_lately_still_opens_the_door(spooling: tuple[Door, Outages]) -> None:
    door, outages = spooling
    sender = await door.as_role("send")
    assert "spooled" not in (await sender.post("/v1/messages", text_to())).json
    outages.leave()
    assert (await sender.post("/v1/messages", text_to())).json["spooled"]
    outages.come_back()
