"""A gateway in the test's own loop before a simulated Telegram, and clients that ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from kurir import Kurir, Parts
from kurir.core.events import Event, Submitted
from kurir.core.message import Record
from kurir.ports import Clock, Store
from kurir.simulator.harness import Telegram
from kurir.web.doors import Doors

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a client got."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def result(self) -> Any:
        assert self.status == 200, self.body
        return self.body["result"]

    @property
    def refusal(self) -> tuple[int, str]:
        """Code and description."""
        assert not self.body["ok"], self.body
        return self.status, self.body["description"]

    @property
    def message(self) -> str:
        """The id of the message that the call became."""
        return self.headers["Kurir-Message"]


@dataclass(frozen=True, slots=True)
class Door:
    """An open gateway."""

    kurir: Kurir
    doors: Doors
    telegram: Telegram
    url: str
    session: aiohttp.ClientSession
    heard: list[Event]

    def at(self, method: str, token: str | None = None) -> str:
        """The URL of a method."""
        return f"{self.url}/bot{token or self.telegram.token}/{method}"

    async def ask(
        self,
        method: str,
        given: Mapping[str, Any] | None = None,
        /,
        *,
        prefer: str | None = None,
        verb: str = "POST",
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        **http: Any,
    ) -> Answered:
        """Call a method: `given` as JSON; or as aiohttp's `data=`, `params=`, `json=` in `http` say."""
        sent = {**(headers or {}), **({"Prefer": prefer} if prefer is not None else {})}
        if given is not None:
            http["json"] = dict(given)
        async with self.session.request(verb, url or self.at(method), headers=sent, **http) as response:
            return await envelope(response)

    async def send(self, chat: int | str, text: str, **more: Any) -> Answered:
        """sendMessage, as JSON; `more`: keywords of `ask`, and further parameters."""
        ours = {name: more.pop(name) for name in ("prefer", "headers") if name in more}
        return await self.ask("sendMessage", {"chat_id": chat, "text": text, **more}, **ours)

    async def leave(self, asking: Coroutine[Any, Any, Answered], stored: bool = True) -> None:
        """Ask, and hang up once the call is stored."""
        before = self.accepted
        client = asyncio.ensure_future(asking)
        if stored:
            await until(lambda: self.accepted > before)
        await asyncio.sleep(0.1)  # beyond the time in which nobody looks whether the client is there
        assert not client.done(), client
        client.cancel()
        with suppress(asyncio.CancelledError):
            await client

    @property
    def accepted(self) -> int:
        """How many messages were accepted since the gateway opened."""
        return sum(len(event.accepted) for event in self.heard if isinstance(event, Submitted))

    async def records(self, **conditions: Any) -> list[Record]:
        """What is stored, oldest first."""
        return list((await self.kurir.find(oldest_first=True, **conditions)).items)

    async def texts(self, count: int, chat: int | None = None, within: float = 10.0) -> list[str]:
        """What is to be read in a chat once so many messages are there."""
        messages = await asyncio.to_thread(self.telegram.wait_for, count, chat, within)
        return [message.text for message in messages]


async def envelope(response: aiohttp.ClientResponse) -> Answered:
    """The answer, which has to be one in Telegram's shape."""
    raw = await response.read()
    assert response.headers["Content-Type"] == JSON, (response.status, raw)
    body = orjson.loads(raw)
    if body["ok"]:
        assert response.status == 200
        assert "result" in body
    else:
        assert body["error_code"] == response.status
        assert body["description"]
    return Answered(response.status, body, response.headers)


@asynccontextmanager
async def opened(
    telegram: Telegram,
    folder: Path,
    *,
    clock: Clock | None = None,
    url: str | None = None,
    store: Store | None = None,
    **settings: Any,
) -> AsyncIterator[Door]:
    """Kurir and its doors on a free port, with their store in `folder`. `url`: of what stands in for Telegram."""
    heard: list[Event] = []
    if "settings" not in settings:
        settings["token"] = telegram.token
    kurir = Kurir(
        store or f"sqlite:///{folder / 'kurir.db'}",
        parts=Parts(clock=clock, listeners=(heard.append,)),
        telegram_url=url or telegram.url,
        listen="127.0.0.1:0",
        pace=settings.pop("pace", "off"),
        **settings,
    )
    doors = Doors(kurir)
    connector = aiohttp.TCPConnector(limit=0)
    async with kurir, doors, aiohttp.ClientSession(connector=connector) as session:
        yield Door(kurir, doors, telegram, doors.url, session, heard)


async def until(condition: Callable[[], bool | Awaitable[bool]], within: float = 10.0) -> None:
    """Wait for what is to become true."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while True:
        met = condition()
        if not isinstance(met, bool):
            met = await met
        if met:
            return
        assert loop.time() < end, "it did not come about"
        await asyncio.sleep(0.01)
