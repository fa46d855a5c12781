"""What is promised of the program and its books: errors, leases, lanes, counters, stops."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from kurir.core.events import Crashed, Unsettled
from kurir.core.judge import CRASHED
from kurir.core.message import State
from tests.virtual import EPOCH

from .case import TINY, Broken, Case
from .process import CallRecord

STOP_WITHIN = 10.0  # seconds


# ---------------------------------------------------------------- the program itself


def no_errors(case: Case) -> Iterator[Broken]:
    """Nothing raises what it should not."""
    for error in case.log.errors:
        yield Broken("no errors", error)
    for at, name, event in case.log.events:
        if isinstance(event, Crashed):
            yield Broken("no errors", f"{name} at {at - EPOCH:.3f}: {event.loop} ended by {event.error}")
        if isinstance(event, Unsettled):
            yield Broken("no errors", f"{name} at {at - EPOCH:.3f}: {event.step}: {event.why}")


# ---------------------------------------------------------------- the store's books


def counters(case: Case) -> Iterator[Broken]:
    """The counters say what a recount finds."""
    counted = Counter(record.state for record in case.e.records)
    for bot in case.e.stats.bots:
        told = {
            State.DELIVERED: bot.delivered, State.DEAD: bot.dead, State.CANCELLED: bot.cancelled,
            State.EXPIRED: bot.expired,
        }  # fmt: skip
        for state, count in told.items():
            if counted[state] != count:
                yield Broken("counters", f"{count} are said to be {state}, {counted[state]} are")
        waiting = counted[State.WAITING] + counted[State.SENDING]
        if (bot.waiting, bot.sending) != (waiting, counted[State.SENDING]):
            yield Broken("counters", f"waiting {bot.waiting}, sending {bot.sending}; recounted {counted}")
        if bot.lanes and not waiting:
            yield Broken("counters", f"{bot.lanes} lanes are said to have messages waiting")


def one_in_flight(case: Case) -> Iterator[Broken]:
    """A lane has one call at a time; two processes overlap only where the first had lost its lease."""
    lanes: dict[str, list[CallRecord]] = defaultdict(list)
    for call in case.log.calls:
        if call.method != "getMe":
            lanes[call.chat].append(call)
    for chat, calls in lanes.items():
        for before, after in pairwise(sorted(calls, key=lambda c: c.started)):
            if before.ended is None or before.abandoned or before.ended <= after.started + TINY:
                continue
            if before.process == after.process or not case.in_trouble(before.process):
                yield Broken("one in flight a lane", f"{after} while {before}", (chat,))


def leases(case: Case) -> Iterator[Broken]:
    """Nobody calls without a lease; no two hold it at once."""
    moments: list[tuple[float, int, str, Any]] = [(at, 0, name, lease) for at, name, lease in case.log.leases]
    moments += [(call.started, 1, call.process, call) for call in case.log.calls if call.method != "getMe"]
    until: dict[str, float] = {}
    for at, _, name, thing in sorted(moments, key=lambda m: (m[0], m[1])):
        if isinstance(thing, CallRecord):
            if at >= until.get(name, 0.0):
                yield Broken("no call without a lease", f"{thing} at {at - EPOCH:.3f}", (name,))
        else:
            until[name] = thing.until


def clean_stops(case: Case) -> Iterator[Broken]:
    """A clean stop takes no longer than it may, and leaves nothing in flight behind: crashes are crashes."""
    for began, ended, name in case.log.stops:
        if ended - began > STOP_WITHIN and not case.in_trouble(name):
            yield Broken("a stop ends in time", f"{name} took {ended - began:.1f} s")
    couriers = {name for _, name in case.log.kills if name.startswith("courier")}
    if couriers or case.s.troubles:
        return
    for settled in case.log.settled:
        attempt = settled.settlement.attempt
        if attempt is not None and attempt.error == CRASHED:
            id = settled.settlement.claim.id
            yield Broken("a clean stop is no crash", f"{id} was left in flight though nobody crashed", (id,))
