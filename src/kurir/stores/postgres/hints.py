"""Hints that something may have changed: LISTEN/NOTIFY, told after the commits and not in them; polling where there is none.

A NOTIFY in a transaction makes all commits of the database stand in line; so a process tells of its commits afterwards, once
for all those of a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any

from kurir.core.errors import KurirError

from .connections import UNREACHABLE, Pool
from .errors import Away

DEBOUNCE = 0.02  # seconds within which one hint tells of everything
CHECK_EVERY = 15.0  # seconds between two looks at whether the listening connection still lives
POLL_EVERY = 0.25  # seconds between two looks, where nobody is told
AGAIN_AFTER = 1.0  # seconds until a lost listening connection is made anew
JOINED = "joined"  # what the function `submit_within` tells
LAST_WORDS = 1.0  # seconds that `close` waits for what is being told


class Hints:
    """`tell` others, and `watch` for what they tell. Own changes wake the own watchers at once. `me` tells them apart."""

    def __init__(self, pool: Pool, channel: str, me: str, q: Mapping[str, str]) -> None:
        self._pool = pool
        self._channel = channel
        self._me = me
        self._q = q
        self.joined = 0  # moves on when a transaction of somebody else's has committed that submits something
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._telling: asyncio.Task[None] | None = None
        self._more = False  # to tell
        self._listening = False
        self._mark: int | None = None  # as last seen: it moves on when something changes
        self._look_again = False  # the mark moves on before the change can be seen

    def start(self) -> None:
        """From now on one is told. Behind a pooler there is nothing to listen to: then `watch` polls."""
        if not self._pool.bounced:
            self._spawn(self._listen())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=LAST_WORDS)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # ---------------------------------------------------------------- telling

    def tell(self, *, at_once: bool = False) -> None:
        """Something of ours was committed."""
        self._changed.set()
        self._more = True
        if self._telling is None or self._telling.done():
            self._telling = self._spawn(self._tell(0.0 if at_once else DEBOUNCE))

    async def _tell(self, pause: float) -> None:
        while self._more:
            await asyncio.sleep(pause)
            self._more = False
            with contextlib.suppress(Away, KurirError):
                await self._pool.run(lambda db: db.fetchval(self._q["notify"], self._channel, self._me))
            pause = DEBOUNCE

    # ---------------------------------------------------------------- hearing

    async def watch(self, timeout: float) -> None:
        """Return at a hint, or after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while not self._changed.is_set() and (left := end - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if self._listening else min(left, POLL_EVERY)):
                    await self._changed.wait()
            if not self._listening and not self._changed.is_set():
                await self._look()
        self._changed.clear()

    async def _look(self) -> None:
        try:
            mark = await self._pool.run(lambda db: db.fetchval(self._q["marks"]))
        except (Away, KurirError):
            return
        moved = self._mark is not None and mark != self._mark
        self._mark = mark
        if moved or self._look_again:
            self.joined += 1
            self._changed.set()
        self._look_again = moved

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload != self._me:
            self.joined += payload == JOINED
            self._changed.set()

    async def _listen(self) -> None:
        while True:
            try:
                connection = await self._pool.connect()
            except (Away, KurirError):
                await asyncio.sleep(AGAIN_AFTER)
                continue
            gone = asyncio.Event()
            connection.add_termination_listener(lambda _, gone=gone: gone.set())
            try:
                await connection.add_listener(self._channel, self._hear)
                self._listening = True
                self._changed.set()  # whatever was told meanwhile
                while not await _set_within(gone, CHECK_EVERY):
                    async with asyncio.timeout(self._pool.address.timeout):
                        await connection.execute("SELECT 1")
            except UNREACHABLE:
                self._changed.set()  # whatever became of the connection, there will be another
            finally:
                self._listening = False
                self._mark = None
                connection.terminate()
            await asyncio.sleep(AGAIN_AFTER)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
