"""A stop: what is under way has its answer or a clear 503, and what comes then is told to ask again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kurir.web.rest.problems import handlers

from .door import KEY, PATIENCE, Door, Got, is_problem, serving, text_to, until
from .test_events import listening

BODY = orjson.dumps(text_to())
MULTIPART = b"--x\r\nContent-Disposition: form-data; name=a; filename=a\r\n\r\n" + b"x" * 200_000


class HalfWay:
    """A POST of which the beginning was sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def answer(self) -> Got:
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.title(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            body = await self._reader.readexactly(int(headers["Content-Length"]))
        return Got(int(head[0].split()[1]), headers, body)


@asynccontextmanager
async def half_way(
    door: Door, begun: bytes = BODY[:10], kind: bytes = b"application/json", size: int = len(BODY)
) -> AsyncIterator[HalfWay]:
    address = urlsplit(door.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (KEY.encode(), kind, size, begun)
    )
    await writer.drain()

    async def under_way() -> bool:
        return door.rest.busy > 0

    await until(under_way, "it is under way")
    yield HalfWay(reader, writer)
    writer.close()
    await writer.wait_closed()


async def test_requests_under_way_are_counted_and_streams_are_not(still: Door) -> None:
    assert still.rest.busy == 0
    async with listening(still):
        assert still.rest.busy == 0
        async with half_way(still) as asked:
            assert still.rest.busy == 1
            asked.writer.write(BODY[10:])
            assert (await asked.answer()).status == 202
        assert still.rest.busy == 0
    await still.get("/v1/messages/nobody")
    assert still.rest.busy == 0


async def test_after_refuse_what_is_under_way_goes_on_and_what_comes_is_refused(still: Door) -> None:
    async with half_way(still) as asked:
        still.rest.refuse()
        for got in (await still.post("/v1/messages", text_to()), await still.get("/v1/stats")):
            is_problem(got, 503, "stopping")
            assert got.headers["Retry-After"] == "1"
        asked.writer.write(BODY[10:])
        got = await asked.answer()
        assert got.status == 202
        assert await still.kurir.get(got.json["id"])


async def test_what_is_broken_off_is_told_so(still: Door, caplog: pytest.LogCaptureFixture) -> None:
    async with half_way(still) as asked, listening(still) as ear:
        still.rest.refuse()
        still.rest.end()
        got = await asked.answer()
        is_problem(got, 503, "stopping")
        assert got.headers["Retry-After"] == "1"
        assert "idempotency key" in got.json["remedy"]
        assert await ear.ended()
    assert still.rest.busy == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_upload_that_is_broken_off_leaves_nothing_behind(still: Door) -> None:
    async with half_way(still, MULTIPART, b"multipart/form-data; boundary=x", 1_000_000) as asked:
        still.rest.end()
        is_problem(await asked.answer(), 503, "stopping")
    assert not list(Path.cwd().glob("kurir.db.files/new-*"))


async def test_starlettes_own_errors_are_problems_too(still: Door) -> None:
    async def fail(_: Request) -> Response:
        raise RuntimeError("secret words")

    async def fine(_: Request) -> Response:
        return Response(b"ok")

    app = Starlette(routes=[Route("/fail", fail), Route("/fine", fine)], exception_handlers=handlers())
    async with serving(app) as url:

        async def ask(verb: str, path: str) -> Got:
            async with still.session.request(verb, url + path) as response:
                return Got(response.status, response.headers, await response.read())

        is_problem(await ask("GET", "/nowhere"), 404, "no-route")
        got = await ask("POST", "/fine")
        is_problem(got, 405, "method-not-allowed")
        assert got.headers["Allow"] == "GET, HEAD"
        got = await ask("GET", "/fail")
        is_problem(got, 500, "internal")
        assert b"secret" not in got.body
        assert (await ask("GET", "/fine")).status == 200
