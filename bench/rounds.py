"""Rounds: contestants take turns, so that a machine that drifts drifts for all of them."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from .report import Figure, Target

Say = Callable[[str], None]
Contestant = Callable[[], float]


@dataclass(slots=True)
class Spent:
    """Seconds of wall time and of this process's CPU (all its threads) spent inside `with Spent() as spent:`."""

    wall: float = 0.0
    cpu: float = 0.0
    _wall: float = field(default=0.0, repr=False)
    _cpu: float = field(default=0.0, repr=False)

    def __enter__(self) -> Self:
        self._wall, self._cpu = time.perf_counter(), _cpu()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._wall, _cpu() - self._cpu


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def take_turns(rounds: int, contestants: Mapping[str, Contestant], say: Say) -> dict[str, list[float]]:
    """Each contestant once a round, in changing order; what each measured, by round."""
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds):
        order = list(contestants)
        if turn % 2:
            order.reverse()
        for name in order:
            say(f"round {turn + 1} of {rounds}: {name}")
            measured[name].append(contestants[name]())
    return measured


def ratios(mine: Sequence[float], beside: Sequence[float]) -> float:
    """The median of the rounds' ratios: what drifts between rounds cancels out."""
    return statistics.median(a / b for a, b in zip(mine, beside, strict=True))


def compared(
    name: str,
    unit: str,
    measured: Mapping[str, Sequence[float]],
    mine: str,
    beside: str,
    target: Target | None = None,
    note: str = "",
) -> Figure:
    """The figure of contestant `mine`, with `beside` beside it."""
    ours, theirs = measured[mine], measured[beside]
    return Figure(
        name,
        statistics.median(ours),
        unit,
        beside,
        statistics.median(theirs),
        ratios(ours, theirs),
        target,
        note,
        tuple(ours),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.499999) - 1))]
