"""A store that is away, errors of our own, and clients that leave."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Route

from kurir.core.errors import SchemaMismatch, StoreFull
from kurir.web.rest.answers import Answer
from kurir.web.rest.asked import Asked
from kurir.web.rest.describe import EVERYBODY, Operation
from kurir.web.rest.problems import problem
from kurir.web.rest.resource import Resource
from kurir.web.rest.underway import Underway

from .door import KEY, Door, Got, is_problem, serving, text_to, until


async def test_a_store_that_is_away_is_503(still: Door) -> None:
    assert (await still.post("/v1/messages", text_to())).status == 202
    await still.kurir.store.close()
    for got in (
        await still.post("/v1/messages", text_to()),
        await still.post("/v1/messages", [text_to()]),
        await still.get("/v1/messages"),
        await still.get("/v1/messages/nobody"),
        await still.get("/v1/stats"),
        await still.get("/v1/bots"),
        await still.get("/v1/chats"),
        await still.post("/v1/messages/retry", {}),
        await still.post("/v1/bots/shop/pause"),
        await still.post("/v1/suppressions", {"chat_id": 1}),
    ):
        is_problem(got, 503, "store-away")
        assert int(got.headers["Retry-After"]) >= 1
    assert (await still.get("/v1/openapi.json")).status == 200


async def test_a_disk_that_is_full_is_503() -> None:
    for error, kind in ((StoreFull("no room", "Make some."), "store-full"), (SchemaMismatch("x", "y."), "store-away")):
        reply = problem(error)
        headers = {name.decode(): value.decode() for name, value in reply.headers}
        is_problem(Got(reply.status, {"Content-Type": reply.type.decode()}, reply.body), 503, kind)
        assert int(headers["retry-after"]) >= 1


async def test_an_error_of_our_own_is_told_without_its_words(still: Door) -> None:
    async def broken(_: Asked) -> Answer:
        raise RuntimeError("secret words")

    operation = Operation("GET", "/broken", EVERYBODY, broken, {})
    app = Starlette(routes=[Route("/broken", Resource(still.rest.keyring, {"GET": operation}, Underway()))])
    async with serving(app) as url, still.session.get(url + "/broken") as response:
        got = Got(response.status, response.headers, await response.read())
    is_problem(got, 500, "internal")
    assert b"secret" not in got.body


async def test_who_hangs_up_in_the_middle_leaves_nothing_behind(still: Door) -> None:
    address = urlsplit(still.url)
    for kind in (b"application/json", b"multipart/form-data; boundary=x"):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: %b\r\n"
            b"Content-Length: 1000000\r\n\r\n" % (KEY.encode(), kind)
        )
        writer.write(b"--x\r\nContent-Disposition: form-data; name=a; filename=a\r\n\r\n")
        writer.write(b"x" * 500_000)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert (await still.get("/v1/messages")).json["items"] == []

    async def nothing_left() -> bool:
        return not list(Path.cwd().glob("kurir.db.files/new-*"))

    await until(nothing_left, "its file is removed")
