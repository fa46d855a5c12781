"""Large bodies, long values and large answers: bounded, and never a 5xx."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from typing import Any

import orjson
import pytest

from kurir.web.rest import asked, messages

from .door import Door, Got, is_problem, text_to

LONG = {"digits": "9" * 5000, "letters": "x" * 5000, "colons": "1:" * 2500, "many": "7" * 50_000}
STREAMS = {"/v1/events"}  # an answer without end, unless the question is wrong


async def post(door: Door, body: bytes) -> Got:
    headers = {"Content-Type": "application/json"}
    return await door.ask("POST", "/v1/messages", data=io.BytesIO(body), headers=headers)


async def test_too_many_lists_are_refused_before_they_are_made(still: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: bytes) -> Any:
        raise AssertionError("parsed")

    monkeypatch.setattr(asked, "parse", never)
    for one in (b"[],", b"{},"):
        body = b"[" + one * 1_000_000 + b"1]"
        got = await post(still, body)
        is_problem(got, 413, "too-large", "body")


async def test_large_bodies_are_parsed_beside_the_loop_two_at_a_time(
    still: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, at_work, most, names = asked.parse, 0, 0, []

    def watched(body: bytes) -> Any:
        nonlocal at_work, most
        names.append(threading.current_thread().name)
        at_work += 1
        most = max(most, at_work)
        time.sleep(0.05 if len(body) > asked.LARGE else 0)
        at_work -= 1
        return parse(body)

    monkeypatch.setattr(asked, "parse", watched)
    await still.send()
    assert names == ["MainThread"]
    large = orjson.dumps([text_to("x" * 2000, chat) for chat in range(1, 601)])
    assert {got.status for got in await asyncio.gather(*(post(still, large) for _ in range(5)))} == {202}
    assert len(names) == 6
    assert all(name.startswith("kurir-json") for name in names[1:])
    assert most == 2


async def test_a_large_body_that_is_no_json_is_malformed(still: Door) -> None:
    got = await post(still, b"x" * 2_000_000)
    is_problem(got, 400, "malformed")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/files", "/v1/messages/retry"])
async def test_a_compressed_body_is_not_understood(still: Door, path: str) -> None:
    for kind in ("application/json", "multipart/form-data; boundary=x"):
        if (path, kind) == ("/v1/files", "application/json"):
            continue
        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        got = await still.ask("POST", path, data=b"\x1f\x8b", headers=headers)
        is_problem(got, 415, "unsupported-media")
    headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}
    got = await still.ask("POST", "/v1/messages", data=orjson.dumps(text_to()), headers=headers)
    assert got.status == 202


# ---------------------------------------------------------------- long values


def properties(operation: Any, shapes: Any) -> set[str]:
    """Names of the fields of an operation's JSON body."""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "oneOf" in schema:
        schema = schema["oneOf"][0]
    if "$ref" in schema:
        schema = shapes[schema["$ref"].rsplit("/", 1)[-1]]
    return set(schema.get("properties", {}))


@pytest.mark.parametrize("long", LONG.values(), ids=LONG)
async def test_no_long_value_breaks_anything(still: Door, long: str) -> None:
    document = (await still.get("/v1/openapi.json")).json
    tried = 0
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            wanted: list[tuple[str, dict[str, Any]]] = []
            where = path.replace("{bot}", "shop").replace("{chat}", "42").replace("{id}", "nobody")
            for one in operation.get("parameters", ()):
                if one["in"] == "path":
                    wanted.append((path.replace(f"{{{one['name']}}}", long[:5000]), {}))
                elif one["in"] == "query" and path not in STREAMS:
                    wanted.append((where, {"params": {one["name"]: long[:20_000]}}))
            example = text_to() if path == "/v1/messages" else {}
            wanted += [
                (where, {"json": {**example, name: long}})
                for name in properties(operation, document["components"]["schemas"])
            ]
            for address, more in wanted:
                tried += 1
                got = await still.ask(verb.upper(), address, **more)
                assert got.status < 500, (verb, address[:80], got.body[:500])
                if got.status >= 400:
                    assert got.headers["Content-Type"] == "application/problem+json"
                    assert len(got.body) < 3000, (verb, address[:80])
    assert tried > 60


@pytest.mark.parametrize("long", [LONG["digits"], LONG["letters"]], ids=["digits", "letters"])
async def test_no_bot_has_so_long_a_name(still: Door, long: str) -> None:
    is_problem(await still.post("/v1/messages", {**text_to(), "bot": long}), 422, "invalid-field", "bot")
    is_problem(await still.get("/v1/messages", bot=long), 422, "invalid-field", "bot")
    is_problem(await still.get("/v1/events", bot=long), 422, "invalid-field", "bot")
    assert (await still.get(f"/v1/bots/{long}")).status in (404, 422)


# ---------------------------------------------------------------- large answers


@pytest.mark.parametrize("order", ["false", "true"])
async def test_a_page_ends_early_when_it_is_large_and_nothing_is_left_out(
    still: Door, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(messages, "PAGE_BYTES", 200_000)
    sizes = [10] * 70 + [9_000] * 60 + [300_000] + [9_000] * 5 + [10] * 100
    got = await still.post("/v1/messages", [text_to("x" * size, n) for n, size in enumerate(sizes, 1)])
    assert got.status == 202, got.body
    ids = [one["id"] for one in got.json]
    found: list[str] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor is not None:
        query = {"limit": "1000", "oldest_first": order, **({"cursor": cursor} if cursor else {})}
        page = await still.get("/v1/messages", **query)
        items = page.json["items"]
        assert items
        assert len(page.body) < 250_000 or len(items) == 1
        found += [one["id"] for one in items]
        cursor = page.json["next"]
        pages += 1
        assert pages < 20, "it goes round in circles"
    assert found == (ids if order == "true" else ids[::-1])
    assert 4 <= pages <= 12


async def test_a_page_of_small_messages_has_as_many_as_asked_for(still: Door) -> None:
    got = await still.post("/v1/messages", [text_to() for _ in range(230)])
    ids = [one["id"] for one in got.json][::-1]
    for limit in (1, 49, 50, 51, 100, 120, 229, 230, 1000):
        page = (await still.get("/v1/messages", limit=limit)).json
        assert [one["id"] for one in page["items"]] == ids[:limit]
        assert (page["next"] is None) == (limit >= 230)
