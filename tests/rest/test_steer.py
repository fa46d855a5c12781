"""Bots, chats, suppressions and statistics."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kurir.simulator.harness import Telegram
from kurir.simulator.model import ChatState

from .door import NEWS, Door, is_problem, opened, until


async def test_bots_tell_their_health_and_pace(door: Door) -> None:
    await door.ended(await door.send())
    (bot,) = (await door.get("/v1/bots")).json["items"]
    assert (bot["bot"], bot["bot_id"], bot["health"], bot["here"]) == ("shop", 123456, "ok", True)
    assert (bot["delivered"], bot["waiting"], bot["success_rate"]) == (1, 0, 1.0)
    assert set(bot["pace"]) == {"rate", "ceiling", "chat_rate", "group_rate", "paused_until", "learned"}
    assert (await door.get("/v1/bots/shop")).json == (await door.get("/v1/bots/123456")).json


async def test_a_bot_without_a_courier_says_so(still: Door) -> None:
    bot = (await still.get("/v1/bots/shop")).json
    assert (bot["health"], bot["state"], bot["here"], bot["pace"]) == ("no courier", "no worker", False, None)
    assert "kurir worker" in bot["why"]


async def test_a_bot_out_of_reach_says_so(door: Door) -> None:
    door.telegram.outage(60)
    await door.send()

    async def out() -> bool:
        return bool((await door.get("/v1/bots/shop")).json["health"] == "outage")

    await until(out, "an outage is told")
    door.telegram.heal()


async def test_a_bot_is_paused_and_resumed(door: Door) -> None:
    got = await door.post("/v1/bots/shop/pause", {"for": 600, "reason": "maintenance"})
    assert (got.status, got.json["health"], got.json["why"]) == (200, "paused", "maintenance")
    assert got.json["paused_until"]
    got = await door.post("/v1/bots/shop/pause")
    assert (got.json["health"], got.json["paused_until"]) == ("paused", None)
    got = await door.post("/v1/bots/123456/resume")
    assert (got.status, got.json["health"]) == (200, "ok")


async def test_a_chats_pause_tells_its_reason_until_it_is_over(still: Door) -> None:
    for body in ({"reason": "a complaint"}, {"for": 600, "reason": "a complaint"}):
        assert (await still.post("/v1/chats/42/pause", body)).json["paused_why"] == "a complaint"
        assert (await still.get("/v1/chats/42")).json["paused_why"] == "a complaint"
    assert (await still.post("/v1/chats/42/resume")).json["paused_why"] is None
    await still.post("/v1/chats/42/pause", {"for": 0.01, "reason": "a complaint"})

    async def over() -> bool:
        return bool((await still.get("/v1/chats/42")).json["paused_why"] is None)

    await until(over, "a pause is over")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"for": -1}, "for"),
        ({"for": True}, "for"),
        ({"until": 5}, "until"),
        ({"for": 5, "until": 9e9}, "until"),
        ({"reason": ""}, "reason"),
        ({"fore": 5}, "fore"),
        ([], "body"),
    ],
)
async def test_a_wrong_pause_is_refused(still: Door, body: Any, field: str) -> None:
    for path in ("/v1/bots/shop/pause", "/v1/chats/42/pause"):
        is_problem(await still.post(path, body), 422, "invalid-field", field)


async def test_an_unknown_bot_is_404(still: Door) -> None:
    for path in ("/v1/bots/nobody", "/v1/bots/999", "/v1/bots/" + "9" * 40):
        is_problem(await still.get(path), 404, "not-found")
    is_problem(await still.post("/v1/bots/nobody/pause", {}), 404, "not-found")
    is_problem(await still.post("/v1/bots/999/resume"), 404, "not-found")


async def test_a_chat_tells_what_waits_and_why(still: Door) -> None:
    first = await still.send("one")
    await still.send("two")
    await still.send("three", 43)
    chat = (await still.get("/v1/chats/42")).json
    assert (chat["chat"], chat["bot"], chat["waiting"], chat["head"]) == ("42", "shop", 2, first)
    assert (chat["paused"], chat["suppressed"]) == (False, None)
    items = (await still.get("/v1/chats", waiting="true")).json["items"]
    assert {item["chat"] for item in items} == {"42", "43"}
    assert [item["chat"] for item in (await still.get("/v1/chats", chat_id="43")).json["items"]] == ["43"]
    is_problem(await still.get("/v1/chats/77"), 404, "not-found")
    is_problem(await still.get("/v1/chats", waiting="maybe"), 422, "invalid-field", "waiting")
    is_problem(await still.get("/v1/chats", cursor="what"), 422, "invalid-field", "cursor")


async def test_chats_come_in_pages(still: Door) -> None:
    for chat in range(100, 107):
        await still.send("x", chat)
    seen: list[str] = []
    query = {"limit": "3"}
    while True:
        page = (await still.get("/v1/chats", **query)).json
        seen += [item["chat"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert sorted(seen) == [str(chat) for chat in range(100, 107)]


async def test_a_chat_is_paused_resumed_and_cleared(still: Door) -> None:
    await still.send()
    got = await still.post("/v1/chats/42/pause")
    assert (got.status, got.json["paused"], got.json["next_at"]) == (200, True, None)
    got = await still.post("/v1/chats/42/pause", {"until": time.time() + 600})
    assert (got.json["paused"], bool(got.json["silent_until"])) == (False, True)
    got = await still.post("/v1/chats/42/resume")
    assert (got.json["paused"], got.json["silent_until"]) == (False, None)
    assert (await still.post("/v1/chats/42/clear")).json == {"count": 1}
    assert (await still.get("/v1/chats/42")).json["waiting"] == 0
    for path in ("/v1/chats/77/resume", "/v1/chats/77/clear"):
        is_problem(await still.post(path), 404, "not-found")


async def test_suppressions_are_listed_added_and_lifted(door: Door) -> None:
    door.telegram.close_chat(43, ChatState.BLOCKED)
    await door.ended(await door.send("x", 43))
    got = await door.post("/v1/suppressions", {"chat_id": 44, "reason": "opted out"})
    assert got.status == 201
    assert (got.json["chat"], got.json["why"]) == ("44", "opted out")
    items = {item["chat"]: item for item in (await door.get("/v1/suppressions")).json["items"]}
    assert set(items) == {"43", "44"}
    assert "blocked" in items["43"]["why"]
    refused = await door.post("/v1/messages", {"method": "sendMessage", "params": {"chat_id": 44, "text": "x"}})
    assert refused.json["state"] == "dead"
    assert (await door.ask("DELETE", "/v1/suppressions/44")).status == 204
    is_problem(await door.ask("DELETE", "/v1/suppressions/44"), 404, "not-found")
    assert (await door.ended(await door.send("x", 44)))["state"] == "delivered"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "chat_id"),
        ({"chat_id": "somebody"}, "chat_id"),
        ({"chat_id": None}, "chat_id"),
        ({"chat_id": 1, "reason": 5}, "reason"),
        ({"chat_id": 1, "bot": "nobody"}, "bot"),
        ({"chat_id": 1, "bot": None}, "bot"),
        ({"chat": 1}, "chat"),
    ],
)
async def test_a_wrong_suppression_is_refused(still: Door, body: Any, field: str) -> None:
    is_problem(await still.post("/v1/suppressions", body), 422, "invalid-field", field)


async def test_statistics_by_day_and_month(door: Door) -> None:
    door.telegram.close_chat(43, ChatState.BLOCKED)
    for chat in (41, 42, 43, 44):
        await door.ended(await door.send("x", chat))
    told = (await door.get("/v1/stats")).json
    assert set(told) == {"at", "totals", "bots", "days", "months", "store"}
    assert told["totals"]["delivered"] == 3
    assert told["totals"]["success_rate"] == 0.75
    (day,), (month,) = told["days"], told["months"]
    assert (day["delivered"], day["dead"], day["total"], day["success_rate"]) == (3, 1, 4, 0.75)
    assert (month["total"], month["month"]) == (4, day["day"][:7])
    assert (await door.get("/v1/stats", bot="shop")).json["totals"]["delivered"] == 3
    is_problem(await door.get("/v1/stats", bot="nobody"), 422, "invalid-field", "bot")
    is_problem(await door.get("/v1/stats", by="day"), 422, "invalid-field", "by")


async def test_with_two_bots_the_bot_is_to_be_named(telegram: Telegram, tmp_path: Path) -> None:
    async with opened(telegram, tmp_path, courier=False, two=True) as door:
        body = {"method": "sendMessage", "params": {"chat_id": 42, "text": "x"}}
        is_problem(await door.post("/v1/messages", body), 422, "invalid-field", "bot")
        assert (await door.post("/v1/messages", {**body, "bot": "news"})).status == 202
        assert (await door.post("/v1/messages", {**body, "bot": int(NEWS.split(":")[0])})).status == 202
        is_problem(await door.get("/v1/chats/42"), 422, "invalid-field", "bot")
        chat = (await door.get("/v1/chats/42", bot="news")).json
        assert (chat["bot"], chat["waiting"]) == ("news", 2)
        assert [bot["bot"] for bot in (await door.get("/v1/bots")).json["items"]].count("shop") == 1
