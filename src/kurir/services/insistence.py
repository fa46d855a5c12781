"""A step of the store that must be done: again and again while the store is full or away. Nothing is lost meanwhile."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kurir.core.errors import StoreError
from kurir.core.events import Event, StoreBack, StoreTrouble
from kurir.ports import Clock

T = TypeVar("T")
PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)  # seconds between tries; the last repeats


class Insistence:
    """`await insist(name, call)`. Tells of the trouble once, and when it is over. `rng` spreads the tries of many."""

    def __init__(self, clock: Clock, emit: Callable[[Event], None], rng: random.Random) -> None:
        self._clock = clock
        self._emit = emit
        self._rng = rng
        self._since: float | None = None
        self.failing: set[str] = set()  # steps that the store refused when they were last tried

    async def __call__(self, step: str, call: Callable[[], Awaitable[T]]) -> T:
        tries = 0
        while True:
            try:
                result = await call()
            except StoreError as error:
                self.failing.add(step)
                if self._since is None:
                    self._since = self._clock.now()
                    self._emit(StoreTrouble(step, str(error)))
                await self._clock.sleep(PAUSES[min(tries, len(PAUSES) - 1)] * self._rng.uniform(0.7, 1.0))
                tries += 1
                continue
            self.failing.discard(step)
            if self._since is not None:
                self._emit(StoreBack(self._clock.now() - self._since))
                self._since = None
            return result
