"""What one bot's events add up to in this process, as plain numbers: counting must cost the path next to nothing."""

from __future__ import annotations

from kurir.core.message import Priority
from kurir.core.methods import Kind
from kurir.core.outcome import Scope

from .buckets import CALL, DELAY, Buckets

OUTCOMES = ("delivered", "throttled", "moved", "refused", "failed", "unknown")
DEAD = (
    Scope.RECIPIENT.value,
    Scope.RIGHTS.value,
    Scope.MESSAGE.value,
    "suppressed",
    "tries",
    "unknown",
    "poison",
    "other",
)
CLASSES = {Kind.SEND: "sends", Kind.NOW: "now", Kind.SET: "sets", Kind.ASK: "asks"}
LOOK_BACK = 10  # seconds over which `Recent` averages

_BEGINNINGS = (
    ("suppressed:", "suppressed"),
    ("unknown:", "unknown"),
    ("poison:", "poison"),
    ("gave up ", "tries"),
    ("a chat it refers to moved", Scope.MESSAGE.value),
)


def dead_because(reason: str | None, scope: Scope | None) -> str:
    """One of `DEAD`: `reason` as the message's record has it, `scope` of the refusal if it was one."""
    if scope is not None:
        return scope.value if scope.value in DEAD else "other"
    for beginning, word in _BEGINNINGS:
        if (reason or "").startswith(beginning):
            return word
    return "other"


class Recent:
    """How many a second, over the last whole `LOOK_BACK` seconds. Times are Unix seconds."""

    __slots__ = ("_counts", "_second")

    def __init__(self) -> None:
        self._counts = [0] * (LOOK_BACK + 1)  # by second; the running one is not told yet
        self._second = 0

    def note(self, at: float) -> None:
        second = int(at)
        if second > self._second:
            self._go_on(second)
        self._counts[self._second % len(self._counts)] += 1

    def rate(self, now: float) -> float:
        if int(now) > self._second:
            self._go_on(int(now))
        running = self._counts[self._second % len(self._counts)]
        return (sum(self._counts) - running) / LOOK_BACK

    def _go_on(self, second: int) -> None:
        for step in range(min(second - self._second, len(self._counts))):
            self._counts[(second - step) % len(self._counts)] = 0
        self._second = second


class BotCounts:
    """One bot's numbers since this process began."""

    __slots__ = (
        "attempts",
        "calls",
        "cancelled",
        "dead",
        "delays",
        "delivered",
        "duplicates",
        "expired",
        "fenced",
        "forwarded",
        "outages",
        "recent",
        "recovered",
        "spooled",
        "submitted",
        "superseded",
        "throttled",
    )

    def __init__(self) -> None:
        self.submitted = dict.fromkeys(Priority, 0)
        self.spooled = 0
        self.forwarded = 0
        self.duplicates = 0
        self.superseded = 0
        self.delivered = 0
        self.dead = dict.fromkeys(DEAD, 0)
        self.cancelled = 0
        self.expired = 0
        self.attempts = dict.fromkeys(OUTCOMES, 0)
        self.throttled = 0
        self.fenced = 0
        self.recovered = 0
        self.outages = 0
        self.recent = Recent()
        self.calls = {kind: Buckets(CALL) for kind in Kind}
        self.delays = Buckets(DELAY)
