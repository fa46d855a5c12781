"""The line in front of a bot's pace: whoever is most urgent leaves next, then whoever stands longest."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from kurir.ports import Clock

LONG_WAIT = 1.0  # seconds: a claim whose turn is farther off goes back to the store
TOO_FAR = -1.0  # ... and this is how it is told


class Line:
    """Only the head looks at the clock. It leaves (no `await` between its turn and its call) before the next is woken."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tickets = itertools.count()
        self._places: list[tuple[int, int, asyncio.Event]] = []  # a heap; the event: "look whether you are the head"

    async def turn(
        self, priority: int, obstacle: Callable[[], float | None], wait: Callable[[], float]
    ) -> float | None:
        """None: it is your turn. Else what `obstacle` said, or TOO_FAR.

        `obstacle`: None while one may stay. `wait`: seconds until the pace lets somebody leave."""
        if not self._places:  # nobody stands in line
            if (answer := obstacle()) is not None:
                return answer
            if wait() <= 0:
                return None
        place = (priority, next(self._tickets), asyncio.Event())
        heapq.heappush(self._places, place)
        try:
            while (answer := obstacle()) is None:
                if self._places[0] is not place:
                    await place[2].wait()
                    place[2].clear()
                elif (seconds := wait()) <= 0:
                    return None
                elif seconds > LONG_WAIT:
                    return TOO_FAR
                else:
                    await self._clock.sleep(seconds)
            return answer
        finally:
            self._places.remove(place)
            heapq.heapify(self._places)
            if self._places:
                self._places[0][2].set()
