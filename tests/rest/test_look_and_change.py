"""Looking at messages, and retry, cancel and purge, one by one and by filter."""

from __future__ import annotations

from typing import Any

import pytest

from kurir.simulator.model import ChatState

from .door import Door, is_problem, text_to


async def _several(door: Door) -> dict[str, str]:
    """Ids by text."""
    return {
        "a": await door.send("a", 42, priority="low", metadata={"order": 1}),
        "b": await door.send("b", 43, priority="high", metadata={"order": 2}, idempotency_key="key-b"),
        "c": await door.send("c", 42, due_at="2999-01-01T00:00:00Z", metadata={"order": 1, "kind": "late"}),
    }


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ({}, "cba"),
        ({"oldest_first": "true"}, "abc"),
        ({"chat_id": "42"}, "ca"),
        ({"chat_id": "@nobody"}, ""),
        ({"priority": "high"}, "b"),
        ({"metadata.order": "1"}, "ca"),
        ({"metadata.order": "1", "metadata.kind": "late"}, "c"),
        ({"key": "key-b"}, "b"),
        ({"bot": "shop"}, "cba"),
        ({"bot": "123456"}, "cba"),
        ({"bot": "999"}, ""),
        ({"method": "sendmessage"}, "cba"),
        ({"method": "sendPhoto"}, ""),
        ({"state": "waiting"}, "cba"),
        ({"state": "dead,delivered"}, ""),
        ({"since": "2020-01-01T00:00:00+03:00"}, "cba"),
        ({"since": "4102444800"}, ""),
        ({"until": "2020-01-01T00:00:00Z"}, ""),
        ({"limit": "2"}, "cb"),
        ({"reason": "x"}, ""),
    ],
)
async def test_a_filter_finds_what_matches(still: Door, query: dict[str, str], texts: str) -> None:
    await _several(still)
    got = await still.get("/v1/messages", **query)
    assert got.status == 200, got.body
    assert "".join(item["params"]["text"] for item in got.json["items"]) == texts


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "what"}, "cursor"),
        ({"stat": "dead"}, "stat"),
        ({"state": "gone"}, "state"),
        ({"priority": "urgent"}, "priority"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2020-01-01T00:00:00"}, "since"),
        ({"bot": "nobody"}, "bot"),
        ({"bot": "9" * 30}, "bot"),
        ({"oldest_first": "perhaps"}, "oldest_first"),
        ({"metadata": "x"}, "metadata"),
    ],
)
async def test_a_wrong_parameter_is_named(still: Door, query: dict[str, str], field: str) -> None:
    is_problem(await still.get("/v1/messages", **query), 422, "invalid-field", field)


async def test_a_parameter_given_twice_is_named(still: Door) -> None:
    is_problem(await still.ask("GET", "/v1/messages?key=a&key=b"), 422, "invalid-field", "key")
    is_problem(await still.ask("GET", "/v1/messages?" + "state=dead&" * 200), 400, "malformed")


async def test_pages_follow_one_another_without_gap_or_repeat(still: Door) -> None:
    await still.post("/v1/messages", [text_to(str(n)) for n in range(25)])
    seen: list[str] = []
    query: dict[str, str] = {"limit": "10", "oldest_first": "true"}
    for _ in range(3):
        page = (await still.get("/v1/messages", **query)).json
        seen += [item["params"]["text"] for item in page["items"]]
        query["cursor"] = page["next"]
    assert page["next"] is None
    assert seen == [str(n) for n in range(25)]


async def test_an_unknown_message_is_404(still: Door) -> None:
    for path in ("/v1/messages/nobody", "/v1/messages/%00", "/v1/messages/%F0%9F%90%88"):
        is_problem(await still.get(path), 404, "not-found")
    for change in ("retry", "cancel"):
        is_problem(await still.post(f"/v1/messages/nobody/{change}"), 404, "not-found")


async def test_an_unknown_path_is_404_and_a_wrong_method_405(still: Door) -> None:
    is_problem(await still.get("/v1/nothing"), 404, "no-route")
    is_problem(await still.get("/v1/messages/"), 404, "no-route")
    got = await still.ask("PUT", "/v1/messages")
    is_problem(got, 405, "method-not-allowed")
    assert got.headers["Allow"] == "GET, POST"
    is_problem(await still.ask("OPTIONS", "/v1/messages"), 405, "method-not-allowed")


# ---------------------------------------------------------------- changing


async def test_cancel_and_retry_one(still: Door) -> None:
    id = await still.send()
    got = await still.post(f"/v1/messages/{id}/cancel")
    assert (got.status, got.json["state"]) == (200, "cancelled")
    is_problem(await still.post(f"/v1/messages/{id}/cancel"), 409, "wrong-state")
    got = await still.post(f"/v1/messages/{id}/retry")
    assert (got.status, got.json["state"]) == (200, "waiting")
    is_problem(await still.post(f"/v1/messages/{id}/retry"), 409, "wrong-state")


async def test_change_by_filter(still: Door) -> None:
    ids = await _several(still)
    assert (await still.post("/v1/messages/cancel", {"chat_id": 42, "metadata": {"order": 1}})).json == {"count": 2}
    assert (await still.record(ids["a"]))["state"] == "cancelled"
    assert (await still.record(ids["b"]))["state"] == "waiting"
    assert (await still.post("/v1/messages/retry", {"state": "cancelled", "ids": [ids["a"]]})).json == {"count": 1}
    assert (await still.post("/v1/messages/cancel", {})).json == {"count": 2}
    assert (await still.post("/v1/messages/purge", {"state": ["cancelled"]})).json == {"count": 3}
    assert (await still.get("/v1/messages")).json["items"] == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("purge", {}, "state"),
        ("purge", {"state": []}, "state"),
        ("retry", {"state": ["gone"]}, "state"),
        ("retry", {"stat": "dead"}, "stat"),
        ("retry", {"limit": 5}, "limit"),
        ("cancel", {"chat_id": [1]}, "chat_id"),
        ("cancel", {"bot": True}, "bot"),
        ("cancel", {"ids": []}, "ids"),
        ("cancel", {"metadata": {"a": None}}, "metadata.a"),
        ("cancel", {"priority": 1}, "priority"),
        ("cancel", {"since": True}, "since"),
        ("cancel", [], "body"),
    ],
)
async def test_a_change_by_a_wrong_filter_changes_nothing(still: Door, path: str, body: Any, field: str) -> None:
    id = await still.send()
    is_problem(await still.post(f"/v1/messages/{path}", body), 422, "invalid-field", field)
    assert (await still.record(id))["state"] == "waiting"


async def test_a_change_needs_a_body(still: Door) -> None:
    is_problem(await still.post("/v1/messages/cancel"), 400, "malformed")


async def test_dead_letters(door: Door) -> None:
    door.telegram.close_chat(43, ChatState.BLOCKED)
    dead, alive = await door.send("x", 43), await door.send("y", 42)
    await door.ended(dead)
    await door.ended(alive)
    page = (await door.get("/v1/dead-letters")).json
    assert [item["id"] for item in page["items"]] == [dead]
    assert "blocked" in page["items"][0]["reason"]
    assert (await door.get("/v1/dead-letters", reason="nothing")).json["items"] == []
    is_problem(await door.get("/v1/dead-letters", state="dead"), 422, "invalid-field", "state")
    is_problem(await door.post(f"/v1/dead-letters/{alive}/retry"), 409, "wrong-state")
    is_problem(await door.post("/v1/dead-letters/nobody/retry"), 404, "not-found")
    door.telegram.close_chat(43, ChatState.OPEN)
    assert (await door.post(f"/v1/dead-letters/{dead}/retry")).status == 200
    assert (await door.ended(dead))["state"] == "delivered"


async def test_dead_letters_by_filter(door: Door) -> None:
    door.telegram.close_chat(43, ChatState.BLOCKED)
    ids = [await door.send(text, 43) for text in "xyz"]
    for id in ids:
        await door.ended(id)
    assert (await door.post("/v1/dead-letters/purge", {"ids": ids[:1]})).json == {"count": 1}
    is_problem(await door.get(f"/v1/messages/{ids[0]}"), 404, "not-found")
    door.telegram.close_chat(43, ChatState.OPEN)
    assert (await door.post("/v1/dead-letters/retry", {"chat_id": 43})).json == {"count": 2}
    assert [(await door.ended(id))["state"] for id in ids[1:]] == ["delivered"] * 2
    assert (await door.post("/v1/dead-letters/purge", {})).json == {"count": 0}
