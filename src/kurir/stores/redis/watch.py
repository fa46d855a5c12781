"""The way to whoever is master: clients that go along when sentinels choose another, once it was looked at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import SentinelConnectionPool

from .address import Watched
from .sentinels import Master, NoMaster, Sentinels


@dataclass(frozen=True, slots=True)
class _Way:
    """What redis-py's pool asks for an address whenever it connects."""

    discover_master: Callable[[str], Awaitable[Master]]


class Watch:
    """Two kinds of clients: one to look at the master with, one to use it, which goes nowhere that was not accepted."""

    def __init__(self, url: str, watched: Watched, options: dict[str, Any]) -> None:
        """`options` for all connections. Raises ValueError or TypeError for a URL that redis-py cannot take."""
        told = dict(parse_url(url))
        secure = told.pop("connection_class", None) is not None
        for name in ("host", "port"):
            told.pop(name, None)
        self._service = watched.service
        self._options = {**options, **told, **({"ssl": True} if secure else {})}
        self._sentinels = Sentinels(watched, **self._options)
        self._master: Master | None = None  # it changes in `moved` alone, once it is known
        self._accepted: Master | None = None
        self._elsewhere = asyncio.Event()  # a connection was to be made to a master that `moved` has not told of

    def client(self, **options: Any) -> Redis:
        """A client with connections of its own, to the master that was accepted."""
        return self._client(self._to_use, options)

    def scout(self, **options: Any) -> Redis:
        """A client to the master that `moved` told of, accepted or not."""
        return self._client(self._to_look_at, options)

    def _client(self, way: Callable[[str], Awaitable[Master]], options: dict[str, Any]) -> Redis:
        pool = SentinelConnectionPool(self._service, _Way(way), **{**self._options, **options})  # type: ignore[no-untyped-call]
        return Redis.from_pool(pool)

    async def _to_use(self, service: str) -> Master:
        master = await self._sentinels.discover_master(service)
        if master == self._accepted:
            return master
        if master != self._master:
            self._elsewhere.set()
        what = f"{master[0]}:{master[1]} is master of {service!r} now and is looked at before it is used"
        raise NoMaster(what, "Kurir goes on by itself.", wrong=False)

    async def _to_look_at(self, service: str) -> Master:
        if self._master is None:
            self._master = await self._sentinels.discover_master(service)
        return self._master

    async def moved(self) -> bool:
        """Another server is master than when this was asked last; it is not accepted. Not so while none is known."""
        self._elsewhere.clear()
        try:
            master = await self._sentinels.discover_master(self._service)
        except NoMaster:
            return False
        before, self._master = self._master, master
        if before in (None, master):
            return False
        self._accepted = None
        return True

    async def rest(self, seconds: float) -> None:
        """So long, or until there is reason to ask `moved`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._elsewhere.wait()

    def accept(self) -> None:
        """The master that was looked at last may be used."""
        self._accepted = self._master

    async def close(self) -> None:
        await self._sentinels.close()
