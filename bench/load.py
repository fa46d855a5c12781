"""Clients of an HTTP server, as cheap as can be, in a process of their own.

Closed: each connection asks again as soon as it has its answer. Open: requests come at random times at a given rate, whether
or not earlier ones were answered; one that finds all connections taken waits, and its time counts from when it came.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import random
import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import cast

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Load:
    """`count` requests to 127.0.0.1:`port`: `requests` in turn, each a whole HTTP/1.1 request."""

    port: int
    requests: tuple[bytes, ...]
    count: int
    connections: int = 50
    rate: float | None = None  # arrivals a second; None: closed


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a load. `wall`: seconds from the first request to the last answer; `taken`: seconds of each."""

    wall: float
    taken: tuple[float, ...]
    statuses: Mapping[int, int]


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A request with a JSON body."""
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers)
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


class Clients:
    """A handle on the clients' process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_process, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, load: Load, status: int) -> Told:
        """Raises RuntimeError when a connection broke, or something else than `status` was answered: that is not what is to
        be measured."""
        self._pipe.send(load)
        told: Told | OSError = self._pipe.recv()
        if isinstance(told, OSError):
            raise RuntimeError(f"the load on port {load.port} broke off") from told
        if set(told.statuses) != {status}:
            raise RuntimeError(f"expected HTTP {status} alone of port {load.port}, got {told.statuses}")
        return told

    def stop(self) -> None:
        self._pipe.close()
        self._process.join()


@contextmanager
def clients() -> Iterator[Clients]:
    """The clients while they are needed."""
    made = Clients()
    try:
        yield made
    finally:
        made.stop()


# ---------------------------------------------------------------- in that process


def _process(pipe: Connection) -> None:
    while True:
        try:
            load: Load = pipe.recv()
        except EOFError:
            return
        gc.collect()
        gc.freeze()
        try:
            pipe.send(uvloop.run(_Running(load).run()))
        except OSError as error:
            pipe.send(error)


class _Wire(asyncio.Protocol):
    """One connection: asks, and reads of the answer its status and its length."""

    def __init__(self, running: _Running) -> None:
        self._running = running
        self._buffer = b""
        self.came = 0.0  # when what it asks came

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes, came: float) -> None:
        self.came = came
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        length = _LENGTH.search(self._buffer, 0, end) if end >= 0 else None
        if length is not None and len(self._buffer) >= end + 4 + int(length[1]):
            status, self._buffer = int(self._buffer[9:12]), b""
            self._running.answered(self, status)

    def connection_lost(self, error: Exception | None) -> None:
        self._running.broke(error)

    def close(self) -> None:
        self._transport.close()


class _Running:
    """One load on its way."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._requests = itertools.cycle(load.requests)
        self._left = load.count  # have not come yet
        self._taken: list[float] = []
        self._statuses: Counter[int] = Counter()
        self._free: list[_Wire] = []
        self._waiting: deque[float] = deque()  # when those came that found no free connection

    async def run(self) -> Told:
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._wires = [await self._connected(loop) for _ in range(self._load.connections)]
        began = time.perf_counter()
        if self._load.rate is None:
            for wire in self._wires:
                self._next(wire)
        else:
            self._free = list(self._wires)
            self._arrive(loop, random.Random(4711), self._load.rate, loop.time())
        await self._ended
        wall = time.perf_counter() - began
        for wire in self._wires:
            wire.close()
        return Told(wall, tuple(self._taken), dict(self._statuses))

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> _Wire:
        return (await loop.create_connection(partial(_Wire, self), "127.0.0.1", self._load.port))[1]

    def _next(self, wire: _Wire) -> None:
        if self._left:
            self._left -= 1
            wire.ask(next(self._requests), time.perf_counter())

    def _arrive(self, loop: asyncio.AbstractEventLoop, rng: random.Random, rate: float, due: float) -> None:
        """All that are due by now come; then it is called again."""
        while due <= loop.time() and self._left:
            self._left -= 1
            due += rng.expovariate(rate)
            if self._free:
                self._free.pop().ask(next(self._requests), time.perf_counter())
            else:
                self._waiting.append(time.perf_counter())
        if self._left:
            loop.call_at(due, self._arrive, loop, rng, rate, due)

    def answered(self, wire: _Wire, status: int) -> None:
        self._taken.append(time.perf_counter() - wire.came)
        self._statuses[status] += 1
        if len(self._taken) == self._load.count:
            self._ended.set_result(None)
        elif self._waiting:
            wire.ask(next(self._requests), self._waiting.popleft())
        elif self._load.rate is None:
            self._next(wire)
        else:
            self._free.append(wire)

    def broke(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(error or ConnectionResetError("the server closed a connection"))
