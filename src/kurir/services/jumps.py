"""Was the store's clock set?"""

from __future__ import annotations

from collections.abc import Callable

from kurir.ports import Clock

JUMP = 1.0  # seconds by which a clock goes forward at once only if it was set


class Jumps:
    """`ticks`: seconds since whenever, by a clock that nobody sets."""

    def __init__(self, clock: Clock, ticks: Callable[[], float]) -> None:
        self._clock = clock
        self._ticks = ticks
        self._ahead: float | None = None  # seconds by which the clock was ahead of the ticks
        self._error = 0.0  # ... and how far that was from the truth at most

    def forward(self) -> bool:
        """Whether the clock was set forward since it was asked last. A clock that is learned over the net gets better with
        quick answers, by its error at most: nobody set it then."""
        ahead, error = self._clock.now() - self._ticks(), float(getattr(self._clock, "error", 0.0))
        was_set = self._ahead is not None and ahead - self._ahead > JUMP + self._error
        self._ahead, self._error = ahead, error
        return was_set
