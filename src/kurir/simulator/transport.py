"""The simulator as a `kurir.ports.Transport`: the same behaviour as over HTTP, without sockets and in any
time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import orjson

from kurir.core.outcome import Answer, Break, NoReply, Reply
from kurir.ports import Call, Clock

from .faults import UNREACHED, Kind, Outage
from .files import Upload
from .model import Response
from .pages import html_page
from .world import Exchange, World

BREAKS = {
    Kind.REFUSED: Break.REFUSED,
    Kind.DNS: Break.DNS,
    Kind.UNREACHABLE: Break.UNREACHABLE,
    Kind.CONNECT_TIMEOUT: Break.CONNECT_TIMEOUT,
}


class Latency(Protocol):
    """Seconds that the next round trip takes."""

    def __call__(self) -> float: ...


def random_latency(least: float, most: float, seed: int = 0) -> Latency:
    """Evenly spread over [least, most] seconds, from a seed."""
    rng = random.Random(seed)
    return lambda: rng.uniform(least, most)


class InProcessTransport:
    """One HTTP call without HTTP. All waiting goes through `clock`, so virtual time works.

    `latency`: seconds of a round trip, or a function that says the next one; half passes before Telegram
    handles the call, half after. `timeout`: seconds to wait for an answer where the call sets none.
    `connect_timeout`: seconds.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        *,
        latency: float | Latency = 0.0,
        timeout: float = 75.0,
        connect_timeout: float = 10.0,
    ) -> None:
        self._world = world
        self._clock = clock
        self._latency = latency
        self._timeout = timeout
        self._connect_timeout = connect_timeout

    async def call(self, call: Call) -> Answer:
        """See `kurir.ports.Transport`. A cancelled call leaves its answer in doubt."""
        deadline = self._clock.now() + (self._timeout if call.timeout is None else call.timeout)
        outage = self._world.faults.outage_at(self._clock.now())
        if outage is not None:
            return await self._in_outage(outage.kind, deadline)
        try:
            files = self._uploads(call)
        except OSError as error:
            return NoReply(Break.FILE, sent=False, detail=str(error))
        half = (self._latency if isinstance(self._latency, (int, float)) else self._latency()) / 2
        if not await self._wait(half, deadline):
            return NoReply(Break.TIMEOUT, sent=True)
        outage = self._world.faults.outage_at(self._clock.now())
        if outage is not None:
            return await self._cut(outage, deadline)
        params: Mapping[str, Any] = orjson.loads(call.params) if call.params else {}
        exchange = self._world.exchange(call.token, call.method, params, files)
        entry = exchange.response.entry if exchange.response else None
        try:
            answer = await self._answer(call.token, params, exchange, half, deadline)
        except asyncio.CancelledError:
            self._world.journal.doubt(entry)
            raise
        if isinstance(answer, NoReply):
            self._world.journal.doubt(entry)
        return answer

    async def close(self) -> None:
        """Nothing to release: the world is its owner's."""

    async def _in_outage(self, kind: Kind, deadline: float) -> Answer:
        """Nothing gets through, in the way of this kind of outage."""
        self._world.journal.faults[f"outage_{kind}"] += 1
        if kind is Kind.CONNECT_TIMEOUT:
            await self._wait(self._connect_timeout, deadline)
        if kind in UNREACHED:
            await self._clock.sleep(0)
            return NoReply(BREAKS[kind], sent=False)
        if kind is Kind.HANG:
            await self._wait(float("inf"), deadline)
            return NoReply(Break.TIMEOUT, sent=True)
        await self._clock.sleep(0)
        if kind is Kind.STATUS_HTML:
            return Reply(502, None, html_page(502)[:200])
        if kind is Kind.STATUS_JSON:
            return Reply(502, {"ok": False, "error_code": 502, "description": "Bad Gateway"})
        return NoReply(Break.RESET, sent=True)

    async def _cut(self, outage: Outage, deadline: float) -> Answer:
        """An outage began while the request was on its way."""
        if outage.kind in UNREACHED:
            return NoReply(Break.RESET, sent=True)
        return await self._in_outage(outage.kind, deadline)

    async def _answer(
        self, token: str, params: Mapping[str, Any], exchange: Exchange, half: float, deadline: float
    ) -> Answer:
        rule, response = exchange.fault, exchange.response
        if rule is not None and rule.kind in UNREACHED:
            if rule.kind is Kind.CONNECT_TIMEOUT:
                await self._wait(self._connect_timeout, deadline)
            return NoReply(BREAKS[rule.kind], sent=False)
        if rule is not None and rule.kind is Kind.HANG:
            await self._wait(float("inf"), deadline)
            return NoReply(Break.TIMEOUT, sent=True)
        delay = half + (response.hold if response else 0.0)
        if rule is not None and rule.kind is Kind.SLOW:
            delay += rule.seconds
        if not await self._wait(delay, deadline):
            return NoReply(Break.TIMEOUT, sent=True)
        if rule is not None and rule.kind in (Kind.RESET_BEFORE, Kind.RESET_AFTER):
            return NoReply(Break.RESET, sent=True)
        outage = self._world.faults.outage_at(self._clock.now())
        if outage is not None and outage.kind in UNREACHED:
            return NoReply(Break.RESET, sent=True)
        assert response is not None
        if rule is not None and rule.kind is Kind.STATUS_HTML:
            return Reply(response.status, None, html_page(response.status)[:200])
        if response.poll:
            return await self._poll(token, params, response, deadline)
        return _reply(response)

    async def _poll(self, token: str, params: Mapping[str, Any], response: Response, deadline: float) -> Answer:
        bot = self._world.bots[token]
        generation, until = bot.polls, min(self._clock.now() + response.poll, deadline)
        while True:
            woken = asyncio.Event()
            bot.listeners.append(woken.set)
            try:
                later = self._world.poll(token, params, generation)
                if later is not None:
                    return _reply(later)
                await self._first(woken.wait(), self._clock.sleep(until - self._clock.now()))
            finally:
                bot.listeners.remove(woken.set)
            if self._clock.now() >= until and not woken.is_set():
                timed_out = until >= deadline
                return NoReply(Break.TIMEOUT, sent=True) if timed_out else _reply(response)

    @staticmethod
    async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, seconds: float, deadline: float) -> bool:
        """Wait; False where the deadline came first."""
        left = deadline - self._clock.now()
        if seconds > left:
            await self._clock.sleep(left)
            return False
        if seconds > 0:
            await self._clock.sleep(seconds)
        return True

    def _uploads(self, call: Call) -> dict[str, Upload]:
        files = self._world.files
        return {part.field: files.keep_path(part.path, part.name, part.mime) for part in call.parts}


def _reply(response: Response) -> Reply:
    header = response.headers.get("Retry-After")
    return Reply(response.status, response.payload, retry_after=float(header) if header else None)
