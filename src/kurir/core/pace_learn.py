"""What a 429 teaches about a limit, and when to hope for more: a `Gate`'s shape and lesson are replaced.

What Telegram had accepted in the last window when it refused is the best estimate of its true limit, so
the limit goes there in one step instead of by halves. Where it had accepted little, the burst was too much
and goes down first. After a quiet time one step up is tried; a try that is refused doubles the quiet time,
one that holds doubles the step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from .pace_gate import Gate, Shape

QUIET = 60.0  # seconds without a 429 before a step up, at least
LONGEST_QUIET = 3600.0
TOLD = 20.0  # ... and at least so many times the wait a refused try costs: tries take < 5 % of the pace
PLAUSIBLE = 0.5  # accepted less than this share of the limit: then its rate is not what was exceeded
RELAPSE = 600.0  # seconds: refused again within, the correction was not enough
CUTS = (0.97, 0.92, 0.85)  # ... so it is at least that deep: the first, the second, the later ones


@dataclass(frozen=True, slots=True)
class Lesson:
    """Why a gate's shape is not the configured one."""

    ceiling: Shape  # as configured
    good: Shape  # known to hold; differs from the gate's shape while a try is on
    quiet: float  # seconds
    step: int = 1  # messages a window added by the next try
    burst_next: bool = False  # the next try raises the burst, not the rate
    burst_blamed_at: float = -inf
    lowered_at: float = -inf
    relapses: int = 0  # refusals since, each soon after the last, though no try was on


def lower(gate: Gate, at: float, now: float, told: float) -> None:
    """A call that left at `at` was refused, for `told` seconds, because of this gate's limit."""
    shape = gate.shape
    lesson = gate.lesson or Lesson(shape, shape, QUIET)
    quiet = min(LONGEST_QUIET, max(lesson.quiet, TOLD * told))
    taken = gate.accepted(at - shape.seconds, at)
    trying = shape != lesson.good
    if trying:
        quiet = min(LONGEST_QUIET, 2 * quiet)
    relapse = not trying and now - lesson.lowered_at < RELAPSE
    relapses = lesson.relapses + 1 if relapse else 0
    burst_blamed = taken < PLAUSIBLE * shape.count
    if trying and (burst_blamed or taken <= 1.1 * lesson.good.count):
        held = lesson.good.count if burst_blamed else min(lesson.good.count, taken)
        found = shape.to(held, lesson.good.burst)
    elif burst_blamed and shape.burst > 1 and now - lesson.burst_blamed_at > RELAPSE:
        found = shape.to(shape.count, min(shape.burst - 1, gate.accepted(at - 1.05 * shape.step, at)))
    else:
        found = shape.to(_estimate(shape, taken, relapses), shape.burst)
    gate.shape = found
    gate.lesson = replace(
        lesson,
        good=found,
        quiet=quiet,
        step=1,
        burst_blamed_at=now if burst_blamed else lesson.burst_blamed_at,
        lowered_at=now,
        relapses=relapses,
    )
    gate.try_at = now + told + quiet


def _estimate(shape: Shape, taken: int, relapses: int) -> float:
    """What was taken, below what was refused, and not under half of it on one refusal's word."""
    cut = shape.count * CUTS[min(relapses, len(CUTS) - 1)]
    return max(min(taken, cut if relapses else max(cut, shape.count - 1)), PLAUSIBLE * shape.count)


def hope(gate: Gate, now: float) -> None:
    """The quiet time is over: one step up, or, at the ceiling, forget the lesson."""
    lesson, shape = gate.lesson, gate.shape
    if lesson is None:
        gate.try_at = inf
        return
    ceiling = lesson.ceiling
    used = gate.accepted(now - shape.seconds, now) >= 0.8 * shape.count
    if shape == ceiling and used:
        gate.lesson, gate.try_at = None, inf
        return
    if shape != lesson.good and used:
        quiet = max(QUIET, lesson.quiet / 2)
        lesson = replace(lesson, good=shape, quiet=quiet, step=2 * lesson.step)
    count, burst = shape.count, shape.burst
    if burst < ceiling.burst and (lesson.burst_next or count >= ceiling.count):
        burst += 1
    else:
        count = count + lesson.step if count >= 1 else min(1.0, 2 * count)
    raised = shape.to(min(count, ceiling.count), burst)
    gate.shape = ceiling if (raised.n, raised.burst) == (ceiling.n, ceiling.burst) else raised
    gate.lesson = replace(lesson, burst_next=not lesson.burst_next)
    gate.try_at = now + lesson.quiet
