"""Hearing of changes that other processes make: a hint only."""

from __future__ import annotations

import asyncio
import contextlib

from kurir.core.errors import StoreError
from kurir.stores.memory.watchers import Watchers

from .link import Link, stop

AGAIN = 1.0  # seconds until a lost subscription is renewed


class Hearing:
    """Listens to a channel on a connection of its own, once somebody watches. Messages from `me` are no news."""

    def __init__(self, link: Link, channel: str, me: str) -> None:
        self._link = link
        self._channel = channel
        self._me = me.encode()
        self._watchers = Watchers()
        self._task: asyncio.Task[None] | None = None

    async def watch(self, timeout: float) -> None:
        """Return at a change, or after `timeout` seconds."""
        if self._task is None and self._link.is_open:
            self._task = asyncio.create_task(self._listen(), name="kurir-redis-hearing")
        await self._watchers.watch(timeout)

    def changed(self) -> None:
        """This process changed something."""
        self._watchers.changed()

    async def close(self) -> None:
        task, self._task = self._task, None
        await stop(task)

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(StoreError):
                async for who in self._link.hear(self._channel):
                    if who != self._me:
                        self._watchers.changed()
            await asyncio.sleep(AGAIN)
            self._watchers.changed()  # something may have been missed
