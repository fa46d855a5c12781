"""The arithmetic of one limit: its `Shape` in numbers, and the `Gate` that counts what left against it.

A gate holds two rules at once. The *window*: never more than `n` in any `span` seconds, exact over the log
of what left. The *burst* (GCRA, ITU-T I.371): at most `burst` at once, then one every `span / n` seconds,
unused time being caught up. `span` is the limit's own window and a headroom, for what leaves evenly
arrives with the network's jitter.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import floor, inf
from typing import TYPE_CHECKING

from .pace_limits import Rate

if TYPE_CHECKING:
    from .pace_learn import Lesson

JITTER = 0.01005  # seconds two arrivals may move towards each other: +-5 ms each way, and what rounding eats
HEADROOM = 0.001  # share of a long window (a group's minute) kept free
LONG = 60.0  # seconds: Telegram counts chats by the minute (core.telegram.org/bots/faq)


@dataclass(frozen=True, slots=True)
class Shape:
    """A limit in the numbers a gate works with. Made by `of` (from settings) and `to` (a correction)."""

    count: float  # messages in any `seconds`
    seconds: float  # the window as Telegram is thought to count it
    headroom: float  # share by which the window is kept longer than that
    burst: int  # messages at once
    n: int  # messages in any `span`
    span: float  # seconds
    step: float  # seconds between messages once the burst is used
    slack: float  # seconds of unused time that can be caught up

    @classmethod
    def of(cls, rate: Rate, burst: int) -> Shape:
        """A burst above the rate's own count (3 at 1/s) is counted over a minute (60/min, 3 at once)."""
        headroom = max(JITTER / rate.seconds, HEADROOM)
        stretch = max(1.0, LONG / rate.seconds) if burst > rate.count else 1.0
        return cls._make(rate.count * stretch, rate.seconds * stretch, headroom, burst)

    @classmethod
    def _make(cls, count: float, seconds: float, headroom: float, burst: int) -> Shape:
        n = max(1, floor(count))
        span = seconds * (1.0 + headroom) / min(1.0, count)
        burst = max(1, min(burst, n))
        return cls(count, seconds, headroom, burst, n, span, span / n, (burst - 1) * span / n)

    def to(self, count: float, burst: int) -> Shape:
        """The same window with another count (whole above 1) and burst."""
        return self._make(float(floor(count)) if count >= 1 else count, self.seconds, self.headroom, burst)

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


class Gate:
    """What left against one limit, and when the next may. Times are Unix seconds; `log` is ascending."""

    __slots__ = ("lesson", "log", "refused", "refused_at", "shape", "strike_at", "tat", "try_at", "until")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.tat = 0.0  # GCRA's theoretical arrival time: when all that left is paid for
        self.log: list[float] = []  # departures, at least the last `n`
        self.until = 0.0  # paused: nothing leaves before
        self.refused: list[float] | None = None  # departures that were answered 429
        self.refused_at = 0.0  # when the last 429 arrived
        self.strike_at = -inf  # when a 429 came that this limit does not explain
        self.lesson: Lesson | None = None  # set while the limit is a corrected one
        self.try_at = inf  # when a higher limit is tried next

    def ready(self, now: float, cost: int = 1) -> float:
        """When `cost` more may leave; <= now: now. A clock set back costs a window at most."""
        shape, log = self.shape, self.log
        at = self.tat - shape.slack
        place = shape.n
        if cost > 1:
            at += (min(cost, shape.burst) - 1) * shape.step
            place -= min(cost, place) - 1
        if len(log) >= place and log[-place] + shape.span > at:
            at = log[-place] + shape.span
        if at > now + shape.span + shape.step:
            self._rewind(now)
            at = now + shape.span
        return at if at > self.until else self.until

    def note(self, at: float, cost: int = 1) -> None:
        """`cost` left at `at`."""
        shape, log = self.shape, self.log
        if log and at < log[-1]:
            at = log[-1]
        if cost == 1:
            log.append(at)
        else:
            cost = min(cost, shape.n)
            log.extend([at] * cost)
        tat = self.tat if self.tat > at else at
        if tat < self.until + shape.slack and self.until <= at:
            tat = self.until + shape.slack
        self.tat = tat + cost * shape.step
        if len(log) > 8 * shape.n + 40:
            del log[: -6 * shape.n - 8]

    def room(self, now: float, end: float) -> int:
        """How many may leave from `now` until `end` (exact while `end - now` is below the window)."""
        if self.until > end:
            return 0
        shape, log = self.shape, self.log
        paid = max(self.tat, now, self.until + shape.slack)
        by_burst = floor((end - paid + shape.slack) / shape.step + 1e-9) + 1
        used = len(log) - bisect_right(log, end - shape.span, max(0, len(log) - shape.n))
        return max(0, min(by_burst, shape.n - used))

    def pause(self, until: float) -> None:
        """Nothing before `until`, and no burst right after."""
        if until > self.until:
            self.until = until

    def refuse(self, at: float, now: float) -> None:
        """What left at `at` was answered 429, at `now`."""
        refused = self.refused = self.refused or []
        refused.append(at)
        if len(refused) > 256:
            del refused[:-128]
        self.refused_at = now

    def accepted(self, start: float, end: float) -> int:
        """How many left in (start, end] and were not refused, as far as is known."""
        taken = bisect_right(self.log, end) - bisect_right(self.log, start)
        return taken - sum(1 for at in self.refused or () if start < at <= end)

    def usage(self, at: float) -> float:
        """How much of the limit, or of its burst, what was accepted until `at` used: 1.0 is all."""
        shape = self.shape
        short = self.accepted(at - 1.05 * shape.step, at) / shape.burst if shape.burst < shape.n else 0.0
        return max(short, self.accepted(at - shape.seconds, at) / shape.count)

    def idle(self, now: float) -> bool:
        """Whether forgetting this gate changes nothing (a full minute's log is kept for estimates)."""
        log, shape = self.log, self.shape
        if self.until + shape.slack > now or self.tat > now:
            return False
        if self.refused is not None and self.refused_at + 300 > now:
            return False
        if self.lesson is not None and self.try_at + 3600 > now:
            return False
        return not log or log[-1] + shape.span < now or (shape.burst < shape.n and len(log) <= shape.burst)

    def _rewind(self, now: float) -> None:
        """The clock was set back: what left lately left just now."""
        self.log = [min(at, now) for at in self.log]
        self.tat = min(self.tat, now + self.shape.span)
