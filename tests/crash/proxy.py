"""A bad network between Kurir and its store: a TCP proxy that cuts, delays, stays silent, or forwards one direction only."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Self


class Trouble(Enum):
    CUT = "every connection is reset"
    REFUSE = "connections are reset, and new ones at once too"
    DELAY = "everything comes late"
    HALF_OPEN = "present connections stay open and carry nothing any more; new ones work"
    BLACKHOLE = "connections are accepted and carry nothing; afterwards what was held goes on"
    DEAF = "what the store says does not arrive"
    MUTE = "what Kurir says does not arrive"


class _Link:
    """One connection."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.dead = False  # carries nothing, for ever

    def reset(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """`async with Proxy(port) as proxy:`; `proxy.port` is what Kurir connects to. `delay`: seconds, each way, always."""

    def __init__(self, to: int, delay: float = 0.0) -> None:
        self._to = to
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None
        self._trouble: Trouble | None = None
        self._well = asyncio.Event()
        self._usual = self._delay = (delay, delay)
        self._rng = random.Random(1)
        self.port = 0
        self.count: Counter[Trouble] = Counter()

    async def __aenter__(self) -> Self:
        self._well.set()
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for link in list(self._links):
            link.reset()
        self._well.set()

    def url(self, url: str) -> str:
        """A store's URL, by way of the proxy."""
        return url.replace(f":{self._to}/", f":{self.port}/")

    # ------------------------------------------------------------ trouble

    async def trouble(self, kind: Trouble, seconds: float) -> None:
        """For so long; then all is well."""
        self.count[kind] += 1
        self._trouble = kind
        if kind in (Trouble.CUT, Trouble.REFUSE):
            for link in list(self._links):
                link.reset()
        if kind is Trouble.HALF_OPEN:
            for link in self._links:
                link.dead = True
        if kind in (Trouble.BLACKHOLE, Trouble.DEAF, Trouble.MUTE):
            self._well.clear()
        if kind is Trouble.DELAY:
            self._delay = (0.0, min(1.0, seconds))
        await asyncio.sleep(seconds)
        self._trouble = None
        self._delay = self._usual
        self._well.set()

    async def chaos(self, rng: random.Random, seconds: float, kinds: Iterable[Trouble] = Trouble) -> None:
        """One trouble after another at random, some of them longer than any patience, with calm in between."""
        end = time.monotonic() + seconds
        choice = tuple(kinds)
        while (left := end - time.monotonic()) > 0:
            longest = 12.0 if rng.random() < 0.15 else 2.5
            await self.trouble(rng.choice(choice), min(left, rng.uniform(0.05, longest)))
            await asyncio.sleep(min(max(0.0, end - time.monotonic()), rng.uniform(0.1, 1.5)))

    # ------------------------------------------------------------ forwarding

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._trouble is Trouble.REFUSE:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, back)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._forward(link, reader, back, Trouble.MUTE), self._forward(link, there, writer, Trouble.DEAF)
            )
        finally:
            self._links.discard(link)
            link.reset()

    async def _forward(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silenced_by: Trouble
    ) -> None:
        try:
            while data := await reader.read(65536):
                if self._delay[1]:
                    await asyncio.sleep(self._rng.uniform(*self._delay))
                while self._trouble in (Trouble.BLACKHOLE, silenced_by):
                    await self._well.wait()
                if not link.dead:
                    writer.write(data)
                    await writer.drain()
            if not link.dead:
                writer.close()
        except ConnectionError:
            link.reset()
