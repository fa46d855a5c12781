"""What the tests of this folder hold in their hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson

from kurir import Kurir, Settings
from kurir.ports import KeyStore, Store
from kurir.settings import Bot
from kurir.simulator.harness import Telegram
from kurir.web.auth import Allowance, make_key
from kurir.web.rest import Rest
from kurir.web.server import Server

KEY = "the-admin-key-of-the-tests"
PATIENCE = 5.0  # seconds
NEWS = "654321:BBsecret-token-of-the-news"


@dataclass
class Got:
    """An answer."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Door:
    """A Kurir and its REST door; `await door.post("/v1/messages", {...})`."""

    kurir: Kurir
    rest: Rest
    url: str
    telegram: Telegram
    session: aiohttp.ClientSession
    key: str | None = KEY
    headers: dict[str, str] = field(default_factory=dict)

    async def ask(self, verb: str, path: str, **more: Any) -> Got:
        headers = {**self.headers, **more.pop("headers", {})}
        if self.key is not None:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        async with self.session.request(verb, self.url + path, headers=headers, **more) as response:
            return Got(response.status, response.headers, await response.read())

    async def get(self, path: str, **query: Any) -> Got:
        return await self.ask("GET", path, params=query)

    async def post(self, path: str, body: Any = None, **more: Any) -> Got:
        return await self.ask("POST", path, **({} if body is None else {"json": body}), **more)

    async def send(self, text: str = "Hello", chat: int = 42, **more: Any) -> str:
        """Hand over a text; answers the message's id."""
        got = await self.post("/v1/messages", {**text_to(text, chat), **more})
        assert got.status == 202, got.body
        return str(got.json["id"])

    async def record(self, id: str) -> Any:
        return (await self.get(f"/v1/messages/{id}")).json

    async def ended(self, id: str) -> Any:
        """The message, once it has ended."""
        await self.kurir.end(id, PATIENCE)
        return await self.record(id)

    async def as_role(self, role: str, name: str = "someone") -> Door:
        """The same door, with a key of that role."""
        key, secret = make_key(name, role, time.time())
        await cast("KeyStore", self.kurir.store).add_key(key)
        return Door(self.kurir, self.rest, self.url, self.telegram, self.session, secret)

    def with_key(self, key: str | None) -> Door:
        return Door(self.kurir, self.rest, self.url, self.telegram, self.session, key)


def text_to(text: str = "Hello", chat: int = 42) -> dict[str, Any]:
    return {"method": "sendMessage", "params": {"chat_id": chat, "text": text}}


@asynccontextmanager
async def opened(
    telegram: Telegram,
    folder: Path,
    *,
    courier: bool = True,
    two: bool = False,
    allowance: Allowance | None = None,
    api_key: str | None = KEY,
    store: Store | None = None,
    spool: Path | None = None,
) -> AsyncIterator[Door]:
    """A door; `two`: with a second bot, `news`."""
    bots = (Bot("shop", telegram.token), *([Bot("news", NEWS)] if two else []))
    settings = Settings(store=f"sqlite:///{folder / 'kurir.db'}", bots=bots, telegram_url=telegram.url, api_key=api_key)
    kurir = Kurir(store, settings=settings, courier=courier, pace="off", spool=spool)
    rest = Rest(kurir, allowance=allowance)
    async with kurir, serving(rest) as url, aiohttp.ClientSession() as session:
        yield Door(kurir, rest, url, telegram, session)
        rest.end()


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """uvicorn, as `kurir serve` runs it, on a free port; it stops without the waits of a clean stop."""
    server = Server(app, "127.0.0.1:0")
    await server.start()
    try:
        yield server.url
    finally:
        assert server._loop is not None
        assert server._server is not None
        server._loop.cancel()
        for listener in server._server.servers:
            listener.close()
        for connection in list(server._server.server_state.connections):
            connection.shutdown()  # type: ignore[union-attr]
        await asyncio.gather(*server._server.server_state.tasks, server._loop, return_exceptions=True)


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Look again and again until it holds."""
    end = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < end, f"never: {what}"
        await asyncio.sleep(0.02)


def is_problem(got: Got, status: int, kind: str, field: str | None = None) -> dict[str, Any]:
    """Check an error; answers it."""
    assert got.status == status, (got.status, got.body)
    assert got.headers["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = got.json
    assert told["type"] == f"/v1/docs#{kind}"
    assert told["status"] == status
    assert told["title"]
    assert told["detail"]
    assert told["remedy"]
    assert told.get("field") == field, told
    return told
