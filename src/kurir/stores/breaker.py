"""A circuit breaker: a store that is away is not hammered, and who asks for it is told at once.

closed ──3 StoreAway in a row──> open ──pause over──> half-open: one probe ──┬─ it succeeds ──> closed
                                   ^                                         │
                                   └──────────── the next, longer pause ─────┴─ StoreAway
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType

from kurir.core.errors import KurirError, StoreAway

OPENS_AFTER = 3  # StoreAway in a row
PAUSES = (0.5, 1.0, 2.0, 4.0, 5.0)  # seconds until a probe may pass; the last repeats


class Circuit(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"  # a probe is on its way, or may go


@dataclass(frozen=True, slots=True)
class Standing:
    """A breaker as people see it."""

    circuit: Circuit
    seconds: float  # since it last closed or opened; a probe in between changes nothing
    why: str = ""  # what the store's last StoreAway said; "" while closed
    next_in: float = 0.0  # seconds until a probe may pass


class Breaker:
    """`async with breaker.passing():` around each verb. Not bound to an event loop; no I/O, and nothing waits in it.

    Raises StoreAway at once while open. A StoreAway from inside counts as a failure. Every other `KurirError` is an
    answer of the store's, and so counts as a success; what else ends a verb (a cancellation, a mistake of ours) says
    nothing about it. Passes do not nest.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._since = clock()
        self._failures = 0  # StoreAway in a row while closed
        self._opened = 0  # probes that failed in a row, and one; 0 while closed
        self._probe_at = 0.0
        self._probe: _Pass | None = None
        self._why: StoreAway | None = None

    def passing(self) -> _Pass:
        """A pass for one verb."""
        return _Pass(self)

    @property
    def circuit(self) -> Circuit:
        if not self._opened:
            return Circuit.CLOSED
        return Circuit.HALF_OPEN if self._probe is not None or self._clock() >= self._probe_at else Circuit.OPEN

    @property
    def standing(self) -> Standing:
        now = self._clock()
        why = self._why.what if self._opened and self._why is not None else ""
        next_in = max(0.0, self._probe_at - now) if self._opened else 0.0
        return Standing(self.circuit, now - self._since, why, next_in)

    def hurry(self) -> None:
        """There is reason to think that the store is back: the next verb may pass as a probe."""
        self._probe_at = min(self._probe_at, self._clock())

    # ---------------------------------------------------------------- what a pass tells

    def enter(self, verb: _Pass) -> None:
        if not self._opened:
            return
        now = self._clock()
        if self._probe is None and now >= self._probe_at:
            self._probe = verb
            return
        why = self._why
        assert why is not None
        when = f"in {self._probe_at - now:.1f} s" if self._probe is None else "at this moment"
        raise StoreAway(f"{self._name} is away and is tried again {when}: {why.what}", why.remedy)

    def leave(self, verb: _Pass, error: BaseException | None) -> None:
        probing = self._probe is verb
        if probing:
            self._probe = None
        if isinstance(error, StoreAway):
            self._failed(error, probing)
        elif error is None or isinstance(error, KurirError):
            self._succeeded()

    def _failed(self, error: StoreAway, probing: bool) -> None:
        if self._opened and not probing:
            return  # it had begun before: it tells nothing new
        self._why = error
        self._failures += 1
        if not self._opened and self._failures < OPENS_AFTER:
            return
        now = self._clock()
        if not self._opened:
            self._since = now
        self._probe_at = now + PAUSES[min(self._opened, len(PAUSES) - 1)]
        self._opened += 1

    def _succeeded(self) -> None:
        if self._opened:
            self._since = self._clock()
        self._failures = self._opened = 0
        self._probe = None


class _Pass:
    """One verb's way through."""

    __slots__ = ("_breaker",)

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    async def __aenter__(self) -> None:
        self._breaker.enter(self)

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._breaker.leave(self, error)
