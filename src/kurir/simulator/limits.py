"""The limits Telegram enforces, as sliding windows with growing penalties, and the 8 s hold."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Window = tuple[int, float]  # (calls, seconds): at most `calls` are accepted in any `seconds`
Windows = tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed. Sources: core.telegram.org/bots/faq (30/s per bot, 20/min per group, "avoid more than
    one message per second" per chat with bursts tolerated); `penalties` and the private figures are this
    simulator's.

    `hold`: as TDLib does for bots, a call that would have to wait at most `hold_up_to` seconds is held and
    then delivered instead of answered 429 (`td/telegram/net/NetQueryCreator.cpp`, total_timeout_limit = 8).
    `penalties`: seconds added to the wait by the 1st, 2nd, ... call made inside it; the last one repeats. The
    first ones are free: such calls were on their way already.
    """

    bot: Windows = ((30, 1.0),)
    private: Windows = ((3, 1.0), (62, 60.0))
    group: Windows = ((20, 60.0),)
    channel: Windows | None = None  # None: as groups
    paid: Windows = ((1000, 1.0),)  # instead of `bot`, with allow_paid_broadcast
    album_cost: int = 1
    hold: bool = False
    hold_up_to: float = 8.0
    penalties: tuple[float, ...] = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 5, 5, 10, 10, 30, 60)
    uploads: bool = True  # throttle uploads of identical size (TELEGRAM: `Client.cpp` on_cmd)

    @classmethod
    def none(cls) -> Limits:
        """No limit at all."""
        return cls(bot=(), private=(), group=(), channel=(), paid=(), uploads=False)

    def of_chat(self, chat_type: str) -> Windows:
        """The windows of one chat of this type ("private", "group", "supergroup", "channel")."""
        if chat_type == "private":
            return self.private
        if chat_type == "channel" and self.channel is not None:
            return self.channel
        return self.group


class Budget(NamedTuple):
    """What one call draws on: a bot's windows or a chat's. `queue`: held calls keep their order."""

    key: Hashable
    windows: Windows
    queue: bool


@dataclass(slots=True)
class _Gate:
    """A wait that was told: calls before `until` are refused, and lengthen it."""

    until: float
    strikes: int = 0


@dataclass(frozen=True, slots=True)
class Toll:
    """What a call has to bear: accepted after `hold` seconds, or refused for `retry_after` seconds."""

    hold: float = 0.0
    retry_after: int = 0


FREE = Toll()

ROUNDING = 1e-6  # seconds: floats of Unix times resolve no better

UPLOAD_FROM = 100_000  # bytes; smaller uploads are not throttled
UPLOAD_BACKLOG = 5.0  # seconds of backlog above which the answer is 429
UPLOAD_RETRY = 60  # seconds


class Meter:
    """Counts accepted calls per key (a bot, a chat of a bot). Refused calls cost nothing."""

    def __init__(self) -> None:
        self._times: dict[Hashable, list[float]] = {}
        self._gates: dict[Hashable, _Gate] = {}
        self._uploads: dict[tuple[int, int], float] = {}

    def charge(self, limits: Limits, at: float, budgets: Sequence[Budget], cost: int = 1) -> Toll:
        """Spend `cost` from every budget, or from none. `at` in Unix seconds."""
        budgets = [budget for budget in budgets if budget.windows]
        if self._gates:
            for budget in budgets:
                gate = self._gates.get(budget.key)
                if gate is not None and at < gate.until:
                    gate.until += limits.penalties[min(gate.strikes, len(limits.penalties) - 1)]
                    gate.strikes += 1
                    return Toll(retry_after=_whole(gate.until - at))
        moment, culprit = self._ready(budgets, at, cost)
        wait = moment - at
        if culprit is not None and not (limits.hold and wait <= limits.hold_up_to):
            self._gates[culprit] = _Gate(until=at + _whole(wait))
            return Toll(retry_after=_whole(wait))
        for budget in budgets:
            self._spend(budget, moment, cost)
        return FREE if culprit is None else Toll(hold=wait)

    def charge_upload(self, bot: int, size: int, at: float) -> Toll:
        """Uploads of one identical total size leave 0.2 to 0.9 s apart, with one second of burst
        (`Client.cpp`)."""
        if size <= UPLOAD_FROM:
            return FREE
        last = self._uploads.get((bot, size), 0.0)
        if last > at + UPLOAD_BACKLOG:
            return Toll(retry_after=UPLOAD_RETRY)
        last = max(last + min(max(size * 1e-7, 0.2), 0.9), at - 1.0)
        self._uploads[(bot, size)] = last
        return Toll(hold=max(0.0, last - at))

    def _ready(self, budgets: Sequence[Budget], at: float, cost: int) -> tuple[float, Hashable | None]:
        """When all budgets allow the call, and whose doing it is if that is later than `at`."""
        moment, culprit, settled = at, None, False
        while not settled:
            settled = True
            for budget in budgets:
                times = self._times.get(budget.key)
                if not times:
                    continue
                later = _allowed(times, budget, moment, cost)
                if later - moment > ROUNDING:
                    moment, culprit, settled = later, budget.key, False
        return moment, culprit

    def _spend(self, budget: Budget, at: float, cost: int) -> None:
        self._gates.pop(budget.key, None)
        times = self._times.setdefault(budget.key, [])
        for _ in range(cost):
            insort(times, at)
        most = max(count for count, _ in budget.windows)
        if len(times) > 2 * most + 16:
            del times[:-most]


def _allowed(times: list[float], budget: Budget, at: float, cost: int) -> float:
    """The earliest time from `at` on that no window forbids. Held calls stand in `times` with their future time."""
    if budget.queue and times[-1] > at:
        at = times[-1]
    past = bisect_right(times, at)
    earliest = at
    for count, seconds in budget.windows:
        position = max(count - cost + 1, 1)
        if past >= position:
            earliest = max(earliest, times[past - position] + seconds)
    return earliest


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
