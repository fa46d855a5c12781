"""POST /v1/messages: durable, or refused with the field that is wrong."""

from __future__ import annotations

import io
import time
from typing import Any

import orjson
import pytest

from kurir.web.rest.incoming import header_key

from .door import Door, is_problem, text_to


async def test_a_message_is_answered_202_and_arrives(door: Door) -> None:
    got = await door.post("/v1/messages", text_to("On its way"))
    assert got.status == 202
    assert set(got.json) == {"id", "state", "duplicate"}
    assert (got.json["state"], got.json["duplicate"]) == ("waiting", False)
    record = await door.ended(got.json["id"])
    assert record["state"] == "delivered"
    assert record["result"]["text"] == "On its way"
    assert (record["bot"], record["bot_id"]) == ("shop", 123456)
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["delivered"]
    assert set(record["attempts"][0]) == {"number", "started_at", "duration_ms", "outcome", "status", "error"}


async def test_every_field_is_kept(still: Door) -> None:
    now = time.time()
    id = await still.send(
        bot="shop",
        priority="HIGH",
        idempotency_key="k",
        due_at=now + 100,
        expires_at="2999-01-01T00:00:00+03:00",
        on_unknown="hold",
        ordering="strict",
        max_attempts=3,
        metadata={"order": 42, "vip": True},
        delete_after=60,
        backoff=[1, 2],
        timeout=5,
        force=False,
    )
    record = await still.record(id)
    assert record["priority"] == "high"
    assert record["idempotency_key"] == "k"
    assert record["due_at"]
    assert record["expires_at"] == "2998-12-31T21:00:00.000Z"
    assert (record["on_unknown"], record["ordering"], record["max_attempts"]) == ("hold", "strict", 3)
    assert record["metadata"] == {"order": "42", "vip": "true"}
    assert record["delete_after"] == 60


async def test_the_key_in_the_header_may_be_utf8(still: Door) -> None:
    headers = {"Idempotency-Key": "заказ-1"}
    got = await still.post("/v1/messages", {**text_to(), "idempotency_key": "заказ-1"}, headers=headers)
    assert got.status == 202, got.body
    assert (await still.get("/v1/messages", key="заказ-1")).json["items"][0]["id"] == got.json["id"]
    assert (await still.post("/v1/messages", text_to(), headers=headers)).json["duplicate"]


def test_a_key_that_is_no_utf8_is_latin1() -> None:
    assert header_key("café".encode()) == "café"
    assert header_key("café".encode("latin-1")) == "café"


@pytest.mark.parametrize(
    ("length", "count", "fits"), [(255, 0, True), (253, 2, True), (254, 2, False), (253, 11, False)]
)
async def test_a_key_without_room_for_places_names_the_header(still: Door, length: int, count: int, fits: bool) -> None:
    body = [text_to(chat=chat) for chat in range(1, count + 1)] if count else text_to()
    got = await still.post("/v1/messages", body, headers={"Idempotency-Key": "k" * length})
    if fits:
        assert got.status == 202, got.body
    else:
        is_problem(got, 422, "invalid-field", "Idempotency-Key")


async def test_other_treatment_of_the_same_body_is_ignored(still: Door) -> None:
    first = await still.send(idempotency_key="k", priority="low")
    got = await still.post(
        "/v1/messages", {**text_to(), "idempotency_key": "k", "priority": "high", "due_at": "2999-01-01T00:00:00Z"}
    )
    assert (got.status, got.json["id"], got.json["duplicate"]) == (202, first, True)
    record = await still.record(first)
    assert (record["priority"], record["due_at"]) == ("low", None)


async def test_null_is_as_if_it_were_not_there(still: Door) -> None:
    body = {**text_to(), "priority": None, "due_at": None, "metadata": None, "bot": None, "force": None}
    assert (await still.post("/v1/messages", body)).status == 202


async def test_a_list_is_kept_in_order(door: Door) -> None:
    got = await door.post("/v1/messages", [text_to(str(n)) for n in range(20)])
    assert got.status == 202
    assert len(got.json) == 20
    await door.ended(got.json[-1]["id"])
    assert door.telegram.texts(42) == [str(n) for n in range(20)]


async def test_a_list_with_one_bad_message_keeps_nothing(still: Door) -> None:
    bad = [*[text_to(str(n)) for n in range(3)], {"method": "sendMessage", "params": {"chat_id": 42}}]
    is_problem(await still.post("/v1/messages", bad), 422, "invalid-field", "messages[3].params.text")
    bad[3] = {"methode": "sendMessage"}
    told = is_problem(await still.post("/v1/messages", bad), 422, "invalid-field", "messages[3].methode")
    assert told["remedy"] == "Did you mean method?"
    assert (await still.get("/v1/messages")).json == {"items": [], "next": None}


async def test_a_list_of_a_thousand_is_the_most(still: Door) -> None:
    got = await still.post("/v1/messages", [text_to()] * 1000)
    assert (got.status, len(got.json)) == (202, 1000)
    is_problem(await still.post("/v1/messages", [text_to()] * 1001), 413, "too-large", "messages")


async def test_an_empty_list_is_nothing(still: Door) -> None:
    got = await still.post("/v1/messages", [])
    assert (got.status, got.json) == (202, [])


# ---------------------------------------------------------------- idempotency


async def test_the_same_key_and_body_is_the_same_message(still: Door) -> None:
    first = await still.post("/v1/messages", {**text_to(), "idempotency_key": "a"})
    again = await still.post("/v1/messages", {**text_to(), "idempotency_key": "a"})
    assert again.json == {"id": first.json["id"], "state": "waiting", "duplicate": True}
    is_problem(await still.post("/v1/messages", {**text_to("B"), "idempotency_key": "a"}), 409, "key-conflict")


async def test_the_header_is_the_key(still: Door) -> None:
    first = await still.post("/v1/messages", text_to(), headers={"Idempotency-Key": "a"})
    quoted = await still.post("/v1/messages", text_to(), headers={"Idempotency-Key": '"a"'})
    both = await still.post("/v1/messages", {**text_to(), "idempotency_key": "a"}, headers={"Idempotency-Key": "a"})
    assert [got.json["duplicate"] for got in (first, quoted, both)] == [False, True, True]
    other = await still.post("/v1/messages", {**text_to(), "idempotency_key": "b"}, headers={"Idempotency-Key": "a"})
    is_problem(other, 422, "invalid-field", "idempotency_key")
    long = await still.post("/v1/messages", text_to(), headers={"Idempotency-Key": "a" * 256})
    is_problem(long, 422, "invalid-field", "Idempotency-Key")


async def test_the_header_makes_a_list_the_same_list(still: Door) -> None:
    batch = [text_to("A"), {**text_to("B"), "idempotency_key": "own"}, text_to("A")]
    first = await still.post("/v1/messages", batch, headers={"Idempotency-Key": "list"})
    again = await still.post("/v1/messages", batch, headers={"Idempotency-Key": "list"})
    assert [one["duplicate"] for one in first.json] == [False] * 3
    assert [one["duplicate"] for one in again.json] == [True] * 3
    assert [one["id"] for one in again.json] == [one["id"] for one in first.json]


async def test_a_key_twice_in_a_list(still: Door) -> None:
    one = {**text_to(), "idempotency_key": "a"}
    got = await still.post("/v1/messages", [one, one])
    assert [m["duplicate"] for m in got.json] == [False, True]
    clash = [{**text_to("C"), "idempotency_key": "c"}, {**text_to("D"), "idempotency_key": "c"}]
    is_problem(await still.post("/v1/messages", clash), 409, "key-conflict")
    assert len((await still.get("/v1/messages")).json["items"]) == 1


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"params": {"chat_id": 42, "text": "x"}}, "method"),
        ({"method": 5, "params": {}}, "method"),
        ({"method": "getMe"}, "method"),
        ({**text_to(), "prioritty": "low"}, "prioritty"),
        ({**text_to(), "parts": {}}, "parts"),
        ({**text_to(), "priority": "urgent"}, "priority"),
        ({**text_to(), "priority": 1}, "priority"),
        ({**text_to(), "due_at": "2026-01-01T00:00:00"}, "due_at"),
        ({**text_to(), "due_at": [1]}, "due_at"),
        ({**text_to(), "expires_at": 5}, "expires_at"),
        ({**text_to(), "bot": "nobody"}, "bot"),
        ({**text_to(), "bot": 1.5}, "bot"),
        ({**text_to(), "on_unknown": "maybe"}, "on_unknown"),
        ({**text_to(), "ordering": []}, "ordering"),
        ({**text_to(), "max_attempts": 0}, "max_attempts"),
        ({**text_to(), "metadata": ["a"]}, "metadata"),
        ({**text_to(), "metadata": {"a": {}}}, "metadata.a"),
        ({**text_to(), "force": "yes"}, "force"),
        ({**text_to(), "idempotency_key": ""}, "idempotency_key"),
        ({"method": "sendMessage", "params": []}, "params"),
        ({"method": "sendMessage", "params": {"text": "x"}}, "params.chat_id"),
        ({"method": "sendMediaGroup", "params": {"chat_id": 42, "media": [1]}}, "params.media"),
        ({"method": "sendPhoto", "params": {"chat_id": 42, "photo": "attach://cat"}}, "params.photo"),
        ("text", "body"),
        (5, "body"),
        ([5], "messages[0]"),
    ],
)
async def test_a_wrong_field_is_named(still: Door, body: Any, field: str) -> None:
    is_problem(await still.post("/v1/messages", body), 422, "invalid-field", field)


@pytest.mark.parametrize("body", [b"", b"{", b'{"method": "\xff"}', b'{"a": "\\ud800"}', b"[" * 5000])
async def test_what_is_no_json_is_malformed(still: Door, body: bytes) -> None:
    got = await still.ask("POST", "/v1/messages", data=body, headers={"Content-Type": "application/json"})
    is_problem(got, 400, "malformed")


async def test_a_nest_without_end_is_refused(still: Door) -> None:
    params = b'{"chat_id":42,"text":"x","extra":' + b"[" * 1000 + b"]" * 1000 + b"}"
    for extra in (b"", b',"note":"attach://"'):
        body = b'{"method":"sendMessage","params":%b%b}' % (params, extra)
        got = await still.ask("POST", "/v1/messages", data=body, headers={"Content-Type": "application/json"})
        assert got.status in (400, 422), got.body


async def test_another_media_type_is_refused(still: Door) -> None:
    got = await still.ask("POST", "/v1/messages", data={"method": "sendMessage"})
    told = is_problem(got, 415, "unsupported-media")
    assert "Content-Type: application/json" in told["remedy"]
    bare = await still.ask("POST", "/v1/messages", data=b"<a/>", headers={"Content-Type": "text/xml"})
    is_problem(bare, 415, "unsupported-media")


async def test_what_is_too_large_is_refused(still: Door) -> None:
    huge = {"method": "sendMessage", "params": {"chat_id": 42, "text": "x" * (1 << 20)}}
    as_json = {"Content-Type": "application/json"}
    got = await still.ask("POST", "/v1/messages", data=io.BytesIO(orjson.dumps(huge)), headers=as_json)
    is_problem(got, 413, "too-large", "params")
    got = await still.ask("POST", "/v1/messages", data=io.BytesIO(b"x" * ((16 << 20) + 1)), headers=as_json)
    is_problem(got, 413, "too-large", "body")


async def test_a_body_in_pieces_is_counted_too(still: Door) -> None:
    async def pieces() -> Any:
        for _ in range(17):
            yield b" " * (1 << 20)

    got = await still.ask("POST", "/v1/messages", data=pieces(), headers={"Content-Type": "application/json"})
    is_problem(got, 413, "too-large", "body")


async def test_what_only_telegram_can_judge_is_accepted_and_dies_with_its_words(door: Door) -> None:
    id = await door.send("x" * 5000)
    record = await door.ended(id)
    assert record["state"] == "dead"
    assert "too long" in record["reason"]


async def test_a_token_given_as_bot_is_not_repeated(still: Door) -> None:
    got = await still.post("/v1/messages", {**text_to(), "bot": "99999:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})
    is_problem(got, 422, "invalid-field", "bot")
    assert b"AAAAAA" not in got.body
