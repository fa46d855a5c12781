"""The time of a server that several machines share, counted on by a clock that nobody sets."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

DRIFT = 200e-6  # seconds a second by which two machines' oscillators part at most


def _counter() -> Callable[[], float]:
    """Seconds since whenever: they go on while the machine sleeps, where the system can tell."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is None:
        return time.monotonic
    return lambda: time.clock_gettime(boottime)


class ServerClock:
    """`ports.Clock` of a store. Until the first `learn` it tells `base()` (Unix seconds); from then on the server's time as
    best known, whatever happens to the machine's own clock.

        asked_at = clock.ticks()
        server_time = ...                      # ask the server
        clock.learn(server_time, asked_at, clock.ticks())

    The server looked at its clock at some moment between question and answer, so the difference between the two clocks is
    known to half the round trip. Samples narrow each other: a slow answer never spoils what a fast one taught. What is known
    ages as the clocks drift apart. A sample that contradicts the others is believed: somebody set the server's clock, or
    another server answers now.
    """

    def __init__(self, base: Callable[[], float] = time.time, *, ticks: Callable[[], float] | None = None) -> None:
        self.ticks = ticks or _counter()  # the clock that nobody sets, in seconds
        self._base = base
        self._offset: float | None = None  # server's time - ticks; None: nothing learned yet
        self._least = -math.inf  # the true offset is not below ...
        self._most = math.inf  # ... and not above, as of `_learned_at`
        self._learned_at = 0.0  # ticks

    def now(self) -> float:
        """Unix seconds. Goes backwards only when a sample proves that it was ahead, and then by no more than was proved."""
        offset = self._offset
        return self._base() if offset is None else self.ticks() + offset

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    @property
    def error(self) -> float:
        """Seconds by which `now()` may differ from the server's time; `inf` before the first `learn`."""
        if self._offset is None:
            return math.inf
        least, most = self._bounds(self.ticks())
        return max(most - self._offset, self._offset - least)

    def learn(self, server_time: float, asked_at: float, answered_at: float) -> None:
        """The server said `server_time` (Unix seconds) to a question asked and answered at these `ticks()`."""
        least, most = server_time - max(asked_at, answered_at), server_time - asked_at
        before = self._bounds(answered_at)
        if least <= before[1] and before[0] <= most:  # they agree: both hold
            least, most = max(least, before[0]), min(most, before[1])
        self._least, self._most, self._learned_at = least, most, answered_at
        middle = (least + most) / 2
        if self._offset is None or middle > self._offset:
            self._offset = middle
        else:
            self._offset = min(self._offset, most)

    def _bounds(self, ticks: float) -> tuple[float, float]:
        """The least and the greatest that the offset can be by now."""
        drift = max(0.0, ticks - self._learned_at) * DRIFT
        return self._least - drift, self._most + drift
