"""Sentinels: they watch a master, know its address, and choose one of its replicas when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any, Final

from redis import exceptions as theirs
from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from .address import Watched

ANSWER_SECONDS: Final = 1.0  # for a sentinel to answer
GRACE_SECONDS: Final = 0.2  # for the other sentinels, once the first has answered
FRESH_SECONDS: Final = 0.1  # as long as an answer is not asked for again: many connections are made at once
_LOST: Final = (theirs.ConnectionError, theirs.TimeoutError, OSError, TimeoutError)
_SHUT: Final = (theirs.AuthenticationError, theirs.NoPermissionError)

Master = tuple[str, int]  # host and port


class NoMaster(MasterNotFoundError):
    """No sentinel names a master that works. `wrong`: waiting does not help, the URL has to be changed."""

    def __init__(self, what: str, remedy: str, *, wrong: bool) -> None:
        super().__init__(what)
        self.remedy = remedy
        self.wrong = wrong


@dataclass(frozen=True, slots=True)
class _Word:
    """What one sentinel says: a master, or why there is none. `epoch` counts the failovers that it knows of."""

    sentinel: str
    master: Master | None = None
    epoch: int = -1
    down: bool = False
    trouble: Exception | None = None


class Sentinels(Sentinel):
    """redis-py's, except that all are asked at once and the newest word counts: one that is cut off with the old master
    leads nobody there. Raises NoMaster."""

    def __init__(self, watched: Watched, **options: Any) -> None:
        own = {name: value for name, value in options.items() if name.startswith("ssl")}
        limits = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS, "max_connections": 2}
        common: dict[str, Any] = {
            name: options[name] for name in ("protocol", "retry", "socket_keepalive") if name in options
        }
        users = {"username": watched.username, "password": watched.password}
        to_sentinels: dict[str, Any] = {**own, **common, **limits, **users}
        super().__init__(watched.sentinels, sentinel_kwargs=to_sentinels, **options)  # type: ignore[no-untyped-call]
        self._names = [f"{host}:{port}" for host, port in watched.sentinels]
        self._asking = asyncio.Lock()
        self._told: tuple[float, list[_Word]] = (-FRESH_SECONDS, [])

    async def discover_master(self, service_name: str) -> Master:
        async with self._asking:
            at, words = self._told
            if time.monotonic() > at + FRESH_SECONDS:
                words = await self._ask(service_name)
                self._told = (time.monotonic(), words)
        best = max(words, key=lambda word: (word.epoch, word.master is not None))
        if best.master is None:
            raise _none(service_name, words)
        return best.master

    async def _ask(self, service: str) -> list[_Word]:
        """At least one word."""
        asked = [
            asyncio.create_task(self._one(name, client, service))
            for name, client in zip(self._names, self.sentinels, strict=True)
        ]
        try:
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            _, late = await asyncio.wait(asked, timeout=GRACE_SECONDS)
            if late and not any(task.done() and task.result().master for task in asked):
                await asyncio.wait(late)
            return [task.result() for task in asked if task.done()]
        finally:
            for task in asked:
                task.cancel()

    async def _one(self, name: str, client: Redis, service: str) -> _Word:
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                answer: Any = await client.execute_command("SENTINEL", "MASTER", service)  # type: ignore[no-untyped-call]
                state = _texts(answer)
        except (theirs.RedisError, OSError, TimeoutError) as error:
            return _Word(name, trouble=error)
        flags, epoch = set(state["flags"].split(",")), int(state["config-epoch"])
        if "master" not in flags or flags & {"s_down", "o_down"}:
            return _Word(name, epoch=epoch, down=True)
        return _Word(name, (state["ip"], int(state["port"])), epoch)

    async def close(self) -> None:
        for client in self.sentinels:
            with contextlib.suppress(theirs.RedisError, OSError, TimeoutError):
                await client.aclose()


class Watch:
    """The way to whoever is master of a service: clients that go along when that changes."""

    def __init__(self, url: str, watched: Watched, options: dict[str, Any]) -> None:
        """`options` for all connections. Raises ValueError or TypeError for a URL that redis-py cannot take."""
        told = dict(parse_url(url))
        secure = told.pop("connection_class", None) is not None
        for name in ("host", "port"):
            told.pop(name, None)
        self.service = watched.service
        self.sentinels = Sentinels(watched, **{**options, **told, **({"ssl": True} if secure else {})})
        self._master: Master | None = None

    def client(self, **options: Any) -> Redis:
        """A client with connections of its own. They are made to whoever is master by then."""
        client: Redis = self.sentinels.master_for(self.service, connection_pool_class=SentinelConnectionPool, **options)
        return client

    async def moved(self) -> bool:
        """Another server is master than when this was asked last. Not so while none is known."""
        try:
            master = await self.sentinels.discover_master(self.service)
        except NoMaster:
            return False
        before, self._master = self._master, master
        return before not in (None, master)

    async def close(self) -> None:
        await self.sentinels.close()


def _none(service: str, words: list[_Word]) -> NoMaster:
    troubles = [word.trouble for word in words if word.trouble is not None]
    if any(word.down for word in words):
        what = f"the sentinels see the master of {service!r} down, and have chosen no other yet"
        return NoMaster(what, "They choose a replica by themselves; if they do not, see their logs.", wrong=False)
    shut = next((error for error in troubles if isinstance(error, _SHUT) or "NOAUTH" in str(error)), None)
    if shut is not None:
        remedy = "Check sentinel_username and sentinel_password in KURIR_STORE: the sentinels' own, not the server's."
        return NoMaster(f"its sentinels do not allow it: {shut}", remedy, wrong=True)
    if any(not isinstance(error, _LOST) for error in troubles):
        remedy = (
            "Write the name behind the hosts in KURIR_STORE as `sentinel monitor NAME ...` has it in their settings."
        )
        said = next(str(error) for error in troubles if not isinstance(error, _LOST))
        return NoMaster(f"its sentinels know no service {service!r} ({said})", remedy, wrong=True)
    each = ", ".join(f"{word.sentinel} ({str(word.trouble) or type(word.trouble).__name__})" for word in words)
    remedy = "See whether they run and can be reached (port 26379 as a rule); Kurir goes on by itself."
    return NoMaster(f"none of its sentinels answers: {each}", remedy, wrong=False)


def _texts(pairs: Any) -> dict[str, str]:
    """What SENTINEL MASTER answers, as texts."""
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in pairs]
    return dict(zip(words[::2], words[1::2], strict=True))
