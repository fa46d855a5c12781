"""A client that waits for its answer: it may leave, and Kurir may have to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final

from kurir.web.forms.body import Receive
from kurir.web.protocol import Peer

UNWATCHED: Final = 0.03  # seconds; most calls are answered before, and looking costs


class Why(Enum):
    """Why the wait was broken off."""

    LEFT = "the client has left"
    STOPPING = "Kurir is being stopped"


class Visit:
    """Of one request, whose body has been read. While it is open, the task that opened it is cancelled as soon as the
    client is gone or `end` is called; `broken` then says why."""

    __slots__ = ("_all", "_peer", "_receive", "_task", "_timer", "_watcher", "broken", "message")

    def __init__(self, receive: Receive, all: set[Visit], peer: Peer | None = None) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._receive = receive
        self._peer = peer
        self._all = all
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(UNWATCHED, self._watch)
        self.broken: Why | None = None
        self.message: str | None = None  # id of what the call became

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

    def gone(self) -> bool:
        """Has the client left by now? A look without a wait: most calls are answered before anybody watches."""
        if self.broken is Why.LEFT or (self._peer is not None and self._peer.gone()):
            return True
        receiving = self._receive().__await__()
        try:
            receiving.send(None)
        except StopIteration as received:
            return bool(received.value["type"] == "http.disconnect")
        receiving.close()
        return False

    def if_reset(self, then: Callable[[], None]) -> None:
        """Call `then` if the client throws the answer away unread."""
        if self._peer is not None:
            self._peer.if_reset = then

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
