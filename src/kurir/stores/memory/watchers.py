"""Who waits to hear of a change."""

from __future__ import annotations

import asyncio


class Watchers:
    """Wakes those who watch, each in the event loop it waits in, or who watches next."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._unseen = False  # something changed that nobody was told of

    async def watch(self, timeout: float) -> None:
        """Return at a change, or after `timeout` seconds."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(changed)
        try:
            await asyncio.wait([changed], timeout=0 if self._unseen else timeout)
        finally:
            if changed in self._waiting:
                self._waiting.remove(changed)
        self._unseen = False

    def changed(self) -> None:
        """Something changed."""
        self._unseen = True
        waiting, self._waiting = self._waiting, []
        for watcher in waiting:
            loop = watcher.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, watcher)


def _wake(watcher: asyncio.Future[None]) -> None:
    if not watcher.done():
        watcher.set_result(None)
