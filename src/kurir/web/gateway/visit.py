"""A client that waits for its answer: it may leave, and Kurir may have to stop."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final

from .body import Receive

UNWATCHED: Final = 0.03  # seconds; most calls are answered before, and looking costs


class Why(Enum):
    """Why the wait was broken off."""

    LEFT = "the client has left"
    STOPPING = "Kurir is being stopped"


class Visit:
    """Of one request, whose body has been read. While it is open, the task that opened it is cancelled as soon as the
    client is gone or `end` is called; `broken` then says why."""

    __slots__ = ("_all", "_receive", "_task", "_timer", "_watcher", "broken")

    def __init__(self, receive: Receive, all: set[Visit]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._receive = receive
        self._all = all
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(UNWATCHED, self._watch)
        self.broken: Why | None = None

    def __enter__(self) -> Visit:
        self._all.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._all.discard(self)
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def end(self, why: Why = Why.STOPPING) -> None:
        """Break the wait off."""
        if self.broken is None:
            self.broken = why
            self._task.cancel()

    def caught(self) -> bool:
        """A CancelledError came: was it ours? Then it is dealt with."""
        if self.broken is None:
            return False
        self._task.uncancel()
        return True

    def _watch(self) -> None:
        self._watcher = asyncio.ensure_future(self._watches())

    async def _watches(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self.end(Why.LEFT)
