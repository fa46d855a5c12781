"""What stands between one worker and the simulated Telegram, and notes when each send passes: who sent it is then known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

MARK = b"/sendMessage HTTP/1.1"


class Relay:
    """`url`: to be used in place of Telegram's. `sends`: when each call passed, Unix seconds."""

    def __init__(self, to: str) -> None:
        parts = urlsplit(to)
        self._to = (parts.hostname or "", parts.port or 80)
        self.url = ""
        self.sends: list[float] = []

    def between(self, start: float, end: float) -> int:
        return sum(start <= at < end for at in self.sends)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._to)
        forth = asyncio.create_task(self._copy(reader, back, count=True))
        try:
            await self._copy(there, writer, count=False)
        finally:
            forth.cancel()
            for end in (writer, back):
                end.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool) -> None:
        tail = b""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if count:
                    seen = tail + data
                    self.sends += [time.time()] * seen.count(MARK)
                    tail = seen[-(len(MARK) - 1) :]
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def relaying(to: str) -> AsyncIterator[Relay]:
    relay = Relay(to)
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(relay.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
