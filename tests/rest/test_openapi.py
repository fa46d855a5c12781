"""The document says what is served, and what it shows works."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.routing import Route

from .door import Door, text_to


async def test_the_paths_of_the_document_are_the_routes(still: Door) -> None:
    document = (await still.with_key(None).get("/v1/openapi.json")).json
    assert document["openapi"] == "3.1.0"
    routes = [route for route in still.rest.routes if isinstance(route, Route)]
    assert set(document["paths"]) == {route.path for route in routes}
    for path, verbs in document["paths"].items():
        allowed = (await still.ask("TRACE", path.replace("{", "").replace("}", ""))).headers["Allow"]
        assert allowed == ", ".join(sorted(verb.upper() for verb in verbs)), path


async def test_every_operation_is_described_to_the_end(still: Door) -> None:
    document = (await still.get("/v1/openapi.json")).json
    tags = {tag["name"] for tag in document["tags"]}
    ids = []
    for path, verbs in document["paths"].items():
        for operation in verbs.values():
            ids.append(operation["operationId"])
            assert operation["summary"]
            assert operation["description"]
            assert operation["tags"][0] in tags
            named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
    assert len(set(ids)) == len(ids)
    text = (await still.get("/v1/openapi.json")).body.decode()
    for kind, name in set(re.findall(r'"#/components/(\w+)/(\w+)"', text)):
        assert name in document["components"][kind], (kind, name)


async def test_the_examples_of_bodies_are_accepted(still: Door) -> None:
    document = (await still.get("/v1/openapi.json")).json
    await still.send()
    tried = 0
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                where = path.replace("{bot}", "shop").replace("{chat}", "42")
                got = await still.ask(verb.upper(), where, json=example["value"])
                assert got.status in map(int, operation["responses"]), (path, got.body)
                assert got.status < 300, (path, example, got.body)
                tried += 1
    assert tried >= 12


async def test_answers_have_the_keys_the_document_says(door: Door) -> None:
    document = (await door.get("/v1/openapi.json")).json
    shapes = document["components"]["schemas"]

    def fits(value: Any, name: str) -> None:
        assert shapes[name]["properties"], name
        shape = shapes[name]
        assert set(shape["required"]) <= set(value) <= set(shape["properties"]), name

    id = await door.send()
    await door.ended(id)
    await door.post("/v1/suppressions", {"chat_id": 44})
    fits((await door.get(f"/v1/messages/{id}")).json, "Record")
    fits((await door.post("/v1/messages", text_to())).json, "Accepted")
    fits((await door.get("/v1/bots/shop")).json, "Bot")
    fits((await door.get("/v1/chats/42")).json, "Chat")
    fits((await door.get("/v1/suppressions")).json["items"][0], "Suppression")
    fits((await door.get("/v1/stats")).json, "Statistics")


async def test_examples_of_answers_have_the_keys_of_their_shapes(still: Door) -> None:
    document = (await still.get("/v1/openapi.json")).json
    shapes = document["components"]["schemas"]
    for verbs in document["paths"].values():
        for operation in verbs.values():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    name = content["schema"].get("$ref", "").rsplit("/", 1)[-1]
                    if name and "example" in content:
                        assert set(content["example"]) == set(shapes[name]["properties"]), name


async def test_the_page_needs_nothing_from_elsewhere(still: Door) -> None:
    got = await still.with_key(None).get("/v1/docs")
    assert got.status == 200
    assert got.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in got.headers["Content-Security-Policy"]
    page = got.body.decode()
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert "<script" not in page
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors
    for kind in ("invalid-field", "no-key", "too-many", "internal"):
        assert kind in anchors


@pytest.mark.parametrize("path", ["/v1/openapi.json", "/v1/docs"])
async def test_the_document_needs_no_key(still: Door, path: str) -> None:
    assert (await still.with_key(None).get(path)).status == 200
