"""The promises, checked over a run's evidence.

Each check is a generator of what it found broken, with the marks and ids that its evidence is about. What a check exempts
stands in its docstring; nothing else is.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator

from . import promised_books, promised_messages, promised_pace
from .case import Broken, Case
from .run import Evidence, simulate
from .scenario import draw

Check = Callable[[Case], Iterator[Broken]]


def check(evidence: Evidence) -> list[Broken]:
    """Everything that is broken, the most telling first."""
    case = Case(evidence)
    return [broken for one in CHECKS for broken in one(case)]


def judge(seed: int, store: str | None = None) -> tuple[int, list[str], float]:
    """(seed, what is broken, CPU seconds)"""
    began = time.process_time()
    try:
        found = [str(broken) for broken in check(simulate(draw(seed, store)))]
    except Exception:
        found = [f"the simulation itself failed: {traceback.format_exc(limit=-4)}"]
    return seed, found, time.process_time() - began


CHECKS: tuple[Check, ...] = (
    promised_books.no_errors,
    promised_messages.ends,
    promised_messages.kept,
    promised_messages.arrived,
    promised_messages.doubles,
    promised_messages.held,
    promised_messages.honest,
    promised_messages.order,
    promised_messages.strict,
    promised_messages.sets,
    promised_pace.waits,
    promised_pace.paused,
    promised_pace.no_429,
    promised_pace.outage_costs_nothing,
    promised_pace.probes,
    promised_pace.neighbours,
    promised_messages.reasons,
    promised_messages.not_after,
    promised_messages.suppressed,
    promised_books.counters,
    promised_books.one_in_flight,
    promised_books.leases,
    promised_books.clean_stops,
)

__all__ = ["Broken", "check", "judge"]
