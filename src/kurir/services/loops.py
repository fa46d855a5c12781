"""The loops of one Kurir: begun when its store is open, kept up whatever goes wrong in them, ended together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from kurir.core.errors import StoreAway, StoreError
from kurir.core.events import Crashed, Event
from kurir.ports import Clock, Store

from .insistence import Insistence

ANEW = 1.0  # seconds until a loop that failed starts again
PATIENCE = 3.0  # seconds in which a store that may be away is to be open; then it is opened meanwhile


class Loops:
    """`tasks`: those at work."""

    def __init__(self, clock: Clock, emit: Callable[[Event], None], rng: random.Random) -> None:
        self._clock = clock
        self._emit = emit
        self._rng = rng
        self._opened = asyncio.Event()  # the store is
        self.away: StoreError | None = None  # why the store could not be opened yet
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self, store: Store, *, patient: bool) -> None:
        """Open the store. Raises StoreError; if `patient`, one that is away is opened as soon as it is there."""
        opening = asyncio.ensure_future(store.open())
        await asyncio.wait((opening,), timeout=PATIENCE if patient else None)
        if opening.done() and not (patient and isinstance(opening.exception(), StoreAway)):
            opening.result()
            self._opened.set()
            return
        self.away = StoreAway(f"the store did not open within {PATIENCE:g} s", "See `kurir doctor`.")
        if opening.done() and isinstance(error := opening.exception(), StoreError):
            self.away = error
        tries = iter((opening,))
        insist = Insistence(self._clock, self._emit, self._rng)

        async def attempt() -> None:
            try:
                await (next(tries, None) or store.open())
            except StoreError as error:
                self.away = error
                raise

        async def open_when_back() -> None:
            await insist("open", attempt)
            self._opened.set()
            self.away = None

        self.tasks.append(asyncio.create_task(self._kept_up("kurir-open", open_when_back)))

    def run(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Once the store is open."""

        async def when_open() -> None:
            await self._opened.wait()
            await loop()

        self.tasks.append(asyncio.create_task(self._kept_up(name, when_open)))

    async def _kept_up(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """A loop that our own mistake ended is told of, and starts anew."""
        while True:
            try:
                await loop()
                return
            except Exception as error:
                self._emit(Crashed(name, f"{type(error).__name__}: {error}"))
                await self._clock.sleep(ANEW)

    async def end(self) -> None:
        """Cancel them all, and wait for their ends."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
