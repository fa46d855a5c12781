"""The other end of the wire: the least HTTP server that answers as the Bot API does, in a process of its own.

A bare asyncio protocol: it reads the length of a request, and answers with a valid `Message` after `delay` seconds. It
notes when the first byte of each request came, and for which chat. `getUpdates` is never answered: there are no updates.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import cast

import uvloop

from .world import RESULT

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CHAT = re.compile(rb'"chat_id":(\d+)')
_ME = b'{"ok":true,"result":{"id":110201543,"is_bot":true,"first_name":"Bench","username":"bench_bot"}}'
_SENT = b'{"ok":true,"result":' + RESULT + b"}"
Arrivals = dict[int, float]  # chat -> Unix seconds of the last request's first byte


def _response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


_ANSWERS = {True: _response(_ME), False: _response(_SENT)}


class _Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self, arrivals: Arrivals, delay: float, away: bool) -> None:
        self._arrivals = arrivals
        self._delay = delay
        self._away = away
        self._buffer = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._began = time.time()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            self._answer(self._buffer[:whole], end)
            self._buffer = self._buffer[whole:]

    def _answer(self, request: bytes, end: int) -> None:
        if chat := _CHAT.search(request, end):
            self._arrivals[int(chat[1])] = self._began
        line = request[: request.find(b"\r\n")]
        if b"/getUpdates" in line:
            return
        answer = _ANSWERS[b"/getMe" in line]
        if self._away:
            self._transport.close()
        elif self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def _serve(pipe: Connection, delay: float, away: bool) -> None:
    arrivals: Arrivals = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Wire(arrivals, delay, away), "127.0.0.1", 0, backlog=1024)
    pipe.send(server.sockets[0].getsockname()[1])
    asked, stopped = asyncio.Event(), False

    loop.add_reader(pipe.fileno(), asked.set)
    while not stopped:
        await asked.wait()
        asked.clear()
        stopped = pipe.recv() == "stop"
        pipe.send(arrivals)
        arrivals.clear()


def _process(pipe: Connection, delay: float, away: bool) -> None:
    uvloop.run(_serve(pipe, delay, away))


class Upstream:
    """A handle on the server's process."""

    def __init__(self, delay: float, away: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_process, args=(theirs, delay, away), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{self._pipe.recv()}"

    def arrivals(self) -> Arrivals:
        """When which chat's request came, since the last look."""
        self._pipe.send("look")
        seen: Arrivals = self._pipe.recv()
        return seen

    def stop(self) -> None:
        self._pipe.send("stop")
        self._pipe.recv()
        self._process.join()


@contextmanager
def upstream(delay: float = 0.0, *, away: bool = False) -> Iterator[Upstream]:
    """The server while it runs; `delay`: seconds before each answer. `away`: it hangs up instead of answering, long polls
    aside."""
    server = Upstream(delay, away)
    try:
        yield server
    finally:
        server.stop()
