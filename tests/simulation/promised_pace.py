"""What is promised of pace, outages and neighbours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from kurir.core.events import Leased, OutageBegan, OutageEnded, Paused
from kurir.core.judge import CRASHED
from kurir.core.link import IN_A_ROW
from kurir.core.outcome import Reply
from kurir.simulator.journal import Verb
from tests.virtual import EPOCH

from .case import TINY, Broken, Case, exempt
from .process import CallRecord
from .scenario import UNREACHED

# ---------------------------------------------------------------- 4. pace


def waits(case: Case) -> Iterator[Broken]:
    """A wait that Telegram told is kept to by whoever knows of it, and costs no try."""
    told: dict[str, list[tuple[CallRecord, float]]] = defaultdict(list)
    for call in sorted(case.log.calls, key=lambda c: c.started):
        if call.method == "getMe":
            continue
        for before, until in told[call.chat]:
            if call.started >= until - TINY or before.ended is None or call.started < before.ended:
                continue
            record = case.by_id.get(before.claim.id) if before.claim else None
            known = call.process == before.process or (
                record is not None
                and any(
                    s.settlement.attempt is not None
                    and abs(s.settlement.attempt.started_at - before.started) < TINY
                    and s.at <= call.started
                    for s in case.settled_of.get(record.id, ())
                )
            )
            if known:
                short = until - call.started
                yield Broken("a wait is kept", f"{call}: {short:.3f} s too early after {before}", (call.chat,))
        if isinstance(call.answer, Reply) and call.answer.status == 429 and call.ended is not None:
            seconds = (call.answer.payload or {})["parameters"]["retry_after"]
            told[call.chat].append((call, call.ended + seconds))
    for settled in case.log.settled:
        s = settled.settlement
        if s.attempt and s.attempt.outcome == "throttled" and (s.tries, s.doubts) != (s.claim.tries, s.claim.doubts):
            yield Broken("a 429 costs no try", f"{s.claim.id} was charged", (s.claim.id,))


def paused(case: Case) -> Iterator[Broken]:
    """While the bot is paused its process makes no call but probes."""
    until: dict[str, tuple[float, float]] = {}
    moments: list[tuple[float, int, str, Any]] = [
        (at, 0, name, event) for at, name, event in case.log.events
        if isinstance(event, Paused) and event.chat is None
    ]  # fmt: skip
    moments += [(call.started, 1, call.process, call) for call in case.log.calls if call.method != "getMe"]
    for at, what, name, thing in sorted(moments, key=lambda m: (m[0], m[1])):
        if what == 0:
            until[name] = (at, thing.until)
        elif name in until and until[name][0] + TINY < at < until[name][1] - TINY:
            yield Broken("a pause is kept", f"{thing} {until[name][1] - at:.3f} s before its end", (thing.mark or "",))


def no_429(case: Case) -> Iterator[Broken]:
    """Where Telegram's limits are those configured and messages arrive as they left, there is no 429 at all: not in
    bursts, not after a crash, an outage or a hand-over."""
    if case.s.pace != "on" or not case.s.steady:
        return
    refused = [e for e in case.journal.entries if e.verb is Verb.THROTTLED]
    if refused:
        first = refused[0]
        about = (first.mark or "", str(first.chat))
        yield Broken("no 429", f"{len(refused)}; the first at {first.at - EPOCH:.3f}: {first}", about)


# ---------------------------------------------------------------- 5. outages


def outage_costs_nothing(case: Case) -> Iterator[Broken]:
    """A call that was made while nothing got through costs no try. Exempt: where connections break or hang, the first
    calls that did so, until it is clear that it is an outage (`link.IN_A_ROW` different chats)."""
    first: Counter[tuple[str, Any]] = Counter()
    for settled in case.log.settled:
        s = settled.settlement
        if not settled.kept or s.attempt is None or s.tries <= s.claim.tries:
            continue
        if s.attempt.outcome not in ("failed", "unknown") or s.attempt.error == CRASHED:
            continue
        if s.reason is not None and s.reason.startswith("unknown:"):
            continue
        outage = case.outage_at(s.attempt.started_at)
        if outage is None or s.attempt.started_at + s.attempt.duration >= EPOCH + outage.end:
            continue
        first[settled.process, outage] += 1
        if outage.kind in UNREACHED or first[settled.process, outage] >= IN_A_ROW:
            what = f"{case.mark(case.by_id[s.claim.id])} was charged at {s.attempt.started_at - EPOCH:.3f}: {s.attempt}"
            yield Broken("an outage costs no try", what, (s.claim.id,))


def probes(case: Case) -> Iterator[Broken]:
    """While a process knows of an outage, one probe at a time goes out and nothing else."""
    began: dict[str, float] = {}
    flying: dict[str, float] = {}
    moments: list[tuple[float, int, str, Any]] = [(at, 0, name, event) for at, name, event in case.log.events]
    moments += [(call.started, 1, call.process, call) for call in case.log.calls]
    for at, _, name, thing in sorted(moments, key=lambda m: (m[0], m[1])):
        if isinstance(thing, OutageBegan):
            began[name] = at
        elif isinstance(thing, OutageEnded | Leased):  # a new lease, a new courier: it has to find out for itself
            began.pop(name, None)
        elif isinstance(thing, CallRecord):
            if thing.method == "getMe":
                if at < flying.get(name, 0.0) - TINY:
                    yield Broken("one probe at a time", f"two at {at - EPOCH:.3f}", (name,))
                flying[name] = thing.ended if thing.ended is not None else at
            elif name in began and at > began[name] + TINY:
                yield Broken("only probes in an outage", f"{thing} at {at - EPOCH:.3f}", (thing.mark or "",))


# ---------------------------------------------------------------- 6. neighbours


def neighbours(case: Case) -> Iterator[Broken]:
    """Where only single chats are in trouble, a healthy chat's message leaves in the time that the pace alone explains."""
    s = case.s
    rules = [rule for rule in s.rules if rule.chat is None]
    if rules or s.outages or case.log.kills or s.troubles or s.kills or s.pace == "stricter":
        return
    if not (s.steady or s.pace == "off"):
        return
    lanes = Counter(case.chat(record.chat) for record in case.e.records)
    total = len(case.e.records)
    trip = s.latency[1] + 4 * s.store_latency[1] + 0.02
    crowd = total / min(s.concurrency / trip, 24.0 if s.pace == "on" else 1e9)
    for record in case.e.records:
        mark = case.mark(record) or ""
        chat = case.chats.get(record.chat)
        copies = case.copies.get(mark)
        if chat is None or chat.trouble or not copies or exempt(case, record, mark):
            continue
        n = lanes[case.chat(record.chat)]
        own = n * trip
        if s.pace == "on":
            own += 1.05 * n if chat.type == "private" else 61.0 * ((n + 20) // 20) * (n > 15)
        waited = copies[0].at - record.accepted_at
        if waited > own + crowd + 3.0:
            what = f"{mark} waited {waited:.1f} s; its pace explains {own:.1f} s, the others {crowd:.1f} s"
            yield Broken("nobody waits for another's trouble", what, (mark, record.chat))
