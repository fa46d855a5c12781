"""Sentinels: they watch a master, know its address, and choose one of its replicas when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any, Final

from redis import exceptions as theirs
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel

from .address import Watched

ANSWER_SECONDS: Final = 1.0  # for a sentinel to answer
GRACE_SECONDS: Final = 0.2  # for the other sentinels, once a majority has answered
DENIED_SECONDS: Final = 10.0  # until a majority is believed that a failover never was: they undo one within 8 s
FRESH_SECONDS: Final = 0.1  # as long as an answer is not asked for again: many connections are made at once
_LOST: Final = (theirs.ConnectionError, theirs.TimeoutError, OSError, TimeoutError)
_DOWN: Final = {"s_down", "o_down", "failover_in_progress"}  # the last: it counts, and the old address is told
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
    """redis-py's, except that all are asked at once and the newest failover counts, as it was heard once: a sentinel that
    slept through it leads nobody to the old master, not even while those that know better do not answer.

    It takes the words of a majority of those that the URL names, or of all that answer within two seconds. Raises NoMaster.
    """

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
        self._told_at = -FRESH_SECONDS
        self._questions: dict[str, asyncio.Task[None]] = {}  # at most one a sentinel; it goes on when it is late
        self._words: dict[str, _Word] = {}  # each sentinel's last
        self._epoch = -1  # the highest that any of them told
        self._denied_since: float | None = None  # a majority says that there was no such failover

    async def discover_master(self, service_name: str) -> Master:
        async with self._asking:
            if time.monotonic() > self._told_at + FRESH_SECONDS:
                await self._ask(service_name)
                self._told_at = time.monotonic()
        words = list(self._words.values())
        best = max(words, key=lambda word: (word.epoch, word.master is not None))
        if best.epoch < self._epoch and not self._is_denied(words):
            raise _outdated(service_name, [word.sentinel for word in words if word.epoch < self._epoch])
        if best.master is None:
            raise _none(service_name, words)
        return best.master

    async def _ask(self, service: str) -> None:
        """Until a majority has answered, and others had their chance; or nobody is left who could."""
        for name, client in zip(self._names, self.sentinels, strict=True):
            if name not in self._questions or self._questions[name].done():
                self._questions[name] = asyncio.create_task(self._hear(name, client, service))
        asked = dict(self._questions)
        while late := {question for question in asked.values() if not question.done()}:
            answers = [self._words[name] for name, question in asked.items() if question.done()]
            if self._is_majority(answers):
                await asyncio.wait(late, timeout=GRACE_SECONDS)
                return
            await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)

    def _is_majority(self, words: list[_Word]) -> bool:
        return 2 * sum(word.trouble is None for word in words) > len(self._names)

    def _is_denied(self, words: list[_Word]) -> bool:
        """The newest failover that was told of counts no more: they were set up anew, or it came to nothing."""
        now = time.monotonic()
        if not self._is_majority(words):
            self._denied_since = None
            return False
        if self._denied_since is None:
            self._denied_since = now
        return now >= self._denied_since + DENIED_SECONDS

    async def _hear(self, name: str, client: Redis, service: str) -> None:
        word = self._words[name] = await self._one(name, client, service)
        if word.epoch >= self._epoch:
            self._epoch, self._denied_since = word.epoch, None

    async def _one(self, name: str, client: Redis, service: str) -> _Word:
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                answer: Any = await client.execute_command("SENTINEL", "MASTER", service)  # type: ignore[no-untyped-call]
                state = _texts(answer)
            flags, epoch = set(state["flags"].split(",")), int(state["config-epoch"])
        except (theirs.RedisError, OSError, TimeoutError, KeyError, ValueError) as error:
            return _Word(name, trouble=error)
        if "master" not in flags or flags & _DOWN:
            return _Word(name, epoch=epoch, down=True)
        return _Word(name, (state["ip"], int(state["port"])), epoch)

    async def close(self) -> None:
        questions = list(self._questions.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
        for client in self.sentinels:
            with contextlib.suppress(theirs.RedisError, OSError, TimeoutError):
                await client.aclose()


def _outdated(service: str, sentinels: list[str]) -> NoMaster:
    what = f"those sentinels that answer have not heard of the last failover of {service!r}: {', '.join(sentinels)}"
    remedy = "See whether the others run and can be reached; Kurir goes on as soon as one of them tells who is master."
    return NoMaster(what, remedy, wrong=False)


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
