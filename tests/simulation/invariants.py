"""The promises, checked over a run's evidence.

Each check is a generator of what it found broken, with the marks and ids that its evidence is about. What a check exempts
stands in its docstring; nothing else is.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import orjson

from kurir.core.events import Crashed, OutageBegan, OutageEnded, Paused
from kurir.core.judge import CRASHED
from kurir.core.link import IN_A_ROW
from kurir.core.message import Record, State
from kurir.core.methods import Kind, kind_of
from kurir.core.outcome import NoReply, Reply
from kurir.core.policy import QUICK, SLOW
from kurir.simulator.journal import Entry, Verb
from tests.virtual import EPOCH

from .process import CallRecord, Settled, mark_of
from .run import Evidence, simulate
from .scenario import UNREACHED, ChatPlan, Plan, draw

TINY = 1e-5  # seconds: what floats of Unix times resolve, several times over
STOP_WITHIN = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept."""

    promise: str
    what: str
    about: tuple[str, ...] = ()  # marks, ids, chats to look for in the trace

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


class Case:
    """The evidence, arranged for questions."""

    def __init__(self, evidence: Evidence) -> None:
        self.e = evidence
        self.s = evidence.scenario
        self.log = evidence.log
        self.journal = evidence.world.journal
        self.by_id = {record.id: record for record in evidence.records}
        self.plans = {plan.mark: plan for plan in self.s.plans}
        self.chats: dict[str, ChatPlan] = {}
        for chat in self.s.chats:
            self.chats[str(chat.id)] = chat
            if chat.to:
                self.chats[str(chat.to)] = chat

    def mark(self, record: Record) -> str | None:
        return mark_of(record.method, orjson.loads(record.params))

    def chat(self, chat: Any) -> str:
        """A chat's name of today."""
        return str(self.journal._chat(chat))

    @cached_property
    def marked(self) -> dict[str, list[Record]]:
        """Records of the planned messages, by mark."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in self.e.records:
            if record.metadata and "mark" in record.metadata:
                found[record.metadata["mark"]].append(record)
        return found

    @cached_property
    def copies(self) -> dict[str, list[Entry]]:
        """What the world has of each mark, in order of arrival."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.journal.entries:
            if entry.verb in (Verb.SENT, Verb.PARTIAL) and entry.mark:
                found[entry.mark].append(entry)
        return found

    @cached_property
    def calls_of(self) -> dict[tuple[str, str], list[CallRecord]]:
        """Calls by (chat of today, mark)."""
        found: dict[tuple[str, str], list[CallRecord]] = defaultdict(list)
        for call in self.log.calls:
            if call.mark:
                found[self.chat(call.chat), call.mark].append(call)
        return found

    @cached_property
    def call_of_entry(self) -> dict[int, CallRecord]:
        return {call.entry: call for call in self.log.calls if call.entry is not None}

    @cached_property
    def settled_of(self) -> dict[str, list[Settled]]:
        """Settlements that the store took, by message id."""
        found: dict[str, list[Settled]] = defaultdict(list)
        for settled in self.log.settled:
            if settled.kept:
                found[settled.settlement.claim.id].append(settled)
        return found

    @cached_property
    def due_at(self) -> dict[str, float]:
        """When each message was to be sent at the earliest, by id."""
        return {accepted.id: draft.due_at for _, draft, accepted in self.log.submits if draft.id == accepted.id}

    @cached_property
    def killed(self) -> dict[str, float]:
        return {name: at for at, name in self.log.kills}

    def requeued(self, record: Record) -> float | None:
        """When it was retried by hand first."""
        times = [at for at, what in self.log.changed.get(record.id, ()) if what == "Requeue"]
        return min(times, default=None)

    def calls(self, record: Record) -> list[CallRecord]:
        mark = self.mark(record)
        found = self.calls_of.get((self.chat(record.chat), mark or ""), [])
        return [call for call in found if call.method == record.method]

    def outage_at(self, at: float) -> Any:
        for outage in self.s.outages:
            if outage.start <= at - EPOCH < outage.end:
                return outage
        return None

    def durable(self, call: CallRecord, record: Record) -> bool:
        """Did the store take the settlement that this call led to?"""
        return any(
            s.settlement.attempt is not None
            and s.process == call.process
            and abs(s.settlement.attempt.started_at - call.started) < TINY
            for s in self.settled_of.get(record.id, ())
        )

    def in_trouble(self, process: str) -> bool:
        who = process.partition(".")[0]
        return any(t.who in (who, "all") for t in self.s.troubles)


Check = Callable[[Case], Iterator[Broken]]


def check(evidence: Evidence) -> list[Broken]:
    """Everything that is broken, the most telling first."""
    case = Case(evidence)
    return [broken for one in CHECKS for broken in one(case)]


def judge(seed: int) -> tuple[int, list[str], float]:
    """(seed, what is broken, CPU seconds)"""
    began = time.process_time()
    try:
        found = [str(broken) for broken in check(simulate(draw(seed)))]
    except Exception:
        found = [f"the simulation itself failed: {traceback.format_exc(limit=-4)}"]
    return seed, found, time.process_time() - began


# ---------------------------------------------------------------- the program itself


def no_errors(case: Case) -> Iterator[Broken]:
    """Nothing raises what it should not."""
    for error in case.log.errors:
        yield Broken("no errors", error)
    for at, name, event in case.log.events:
        if isinstance(event, Crashed):
            yield Broken("no errors", f"{name} at {at - EPOCH:.3f}: {event.loop} ended by {event.error}")


# ---------------------------------------------------------------- 1. nothing vanishes


def ends(case: Case) -> Iterator[Broken]:
    """All that was accepted ends, in bounded time after the faults do, and every lane is free."""
    if not case.e.ended:
        left = [r for r in case.e.records if not r.state.final]
        shown = ", ".join(f"{case.mark(r)} {r.state} in {r.chat} ({r.reason})" for r in left[:5])
        about = [case.mark(r) or r.id for r in left[:1]]
        yield Broken("everything ends", f"{len(left)} have not: {shown}", tuple(about))
        return
    for record in case.e.records:
        if not record.state.final:
            yield Broken("everything ends", f"{case.mark(record)} is {record.state}", (record.id,))


def kept(case: Case) -> Iterator[Broken]:
    """What `submit` said is there, once; a batch whole or not at all."""
    for mark, sent in case.e.sent.items():
        there = case.marked.get(mark, [])
        if len(set(sent.ids)) > 1 or len(there) > 1:
            yield Broken("accepted once", f"{mark} has ids {sent.ids} and {len(there)} records", (mark,))
        for id in sent.ids:
            if id not in case.by_id:
                yield Broken("nothing vanishes", f"{mark} was accepted as {id} and is gone", (mark, id))
        for id in sent.edit_ids.values():
            if id not in case.by_id:
                yield Broken("nothing vanishes", f"an edit of {mark}, {id}, is gone", (mark, id))
    for marks in case.e.batches.values():
        marks = [mark for mark in marks if case.plans[mark].key is None]
        there = [mark for mark in marks if mark in case.marked]
        if there and len(there) < len(marks):
            yield Broken("all or none", f"of a batch of {len(marks)} only {len(there)} are kept", tuple(marks))


def arrived(case: Case) -> Iterator[Broken]:
    """What is delivered is in the world's journal; what is there is known to the store."""
    effects = {(case.chat(e.chat), e.mark) for e in case.journal.entries if e.status == 200}
    for record in case.e.records:
        mark = case.mark(record)
        if record.state is not State.DELIVERED:
            continue
        if kind_of(record.method) is Kind.SEND:
            copies = case.copies.get(mark or "", [])
            if not copies:
                yield Broken("delivered is delivered", f"{mark} never arrived", (mark or record.id,))
                continue
            result = orjson.loads(record.result or b"null")
            ids = {i["message_id"] for i in (result if isinstance(result, list) else [result]) if isinstance(i, dict)}
            known = {id for copy in copies for id in copy.message_ids}
            if ids - known:
                yield Broken("delivered is delivered", f"{mark}'s result names {ids - known}", (mark or record.id,))
        elif record.reason is None and (case.chat(record.chat), mark) not in effects:
            yield Broken("delivered is delivered", f"{record.method} {mark} had no effect", (mark or record.id,))
    for mark in case.copies:
        if mark not in case.marked:
            yield Broken("no strangers", f"{mark} arrived and nobody accepted it", (mark,))


# ---------------------------------------------------------------- 2. doubles


def doubles(case: Case) -> Iterator[Broken]:
    """A second copy only where the answer to the one before was lost or not yet durable, each with a doubt on record;
    at most one a lane a kill; never where the message asked to be held. (Retried by hand: exempt.)"""
    by_kill: Counter[tuple[str, str]] = Counter()
    for mark, copies in case.copies.items():
        (record, *_) = case.marked.get(mark) or [None]
        if record is None or len(copies) < 2 or case.requeued(record) is not None:
            continue
        if case.plans[mark].held:
            yield Broken("held is never doubled", f"{mark} arrived {len(copies)} times", (mark,))
        for before in copies[:-1]:
            call = case.call_of_entry.get(before.number)
            if call is None:
                continue
            if call.process in case.killed and (call.abandoned or not case.durable(call, record)):
                by_kill[call.process, call.chat] += 1
            elif not call.lost and case.durable(call, record):
                yield Broken("no double without a doubt", f"{mark} came again after {call}", (mark,))
            elif not call.lost and not case.in_trouble(call.process):
                yield Broken("no double without a doubt", f"{mark}: {call} was not settled, without cause", (mark,))
        doubts = sum(attempt.outcome == "unknown" for attempt in record.attempts)
        if doubts < len(copies) - 1:
            yield Broken("every doubt is recorded", f"{mark} arrived {len(copies)} times, {doubts} doubts", (mark,))
    for (process, chat), count in by_kill.items():
        if count > 1:
            yield Broken("one double a lane a kill", f"the end of {process} doubled {count} in {chat}", (chat,))


def honest(case: Case) -> Iterator[Broken]:
    """An attempt's outcome says what its call came to: no doubt where nothing had left, a doubt where it had."""
    for settled in case.log.settled:
        attempt = settled.settlement.attempt
        if attempt is None or attempt.error == CRASHED or not settled.kept:
            continue
        claim = settled.settlement.claim
        record = case.by_id.get(claim.id)
        if record is None:
            continue
        calls = [c for c in case.calls(record) if abs(c.started - attempt.started_at) < TINY]
        if not calls:
            yield Broken("attempts are calls", f"{case.mark(record)} has one without a call", (claim.id,))
            continue
        call = calls[0]
        unreached = isinstance(call.answer, NoReply) and not call.answer.sent
        if attempt.outcome == "unknown" and unreached:
            yield Broken("doubts are doubts", f"{call} is no doubt", (call.mark or "",))
        sends = kind_of(claim.method) is Kind.SEND
        if sends and call.lost and attempt.outcome not in ("unknown",):
            if isinstance(call.answer, Reply) and call.answer.status >= 500 or call.abandoned or not unreached:
                yield Broken("doubts are doubts", f"{call} became {attempt.outcome}", (call.mark or "",))


def held(case: Case) -> Iterator[Broken]:
    """A message to be held is never tried again after a doubt."""
    for mark, plan in case.plans.items():
        if not plan.held:
            continue
        for record in case.marked.get(mark, ()):
            if case.requeued(record) is not None:
                continue
            calls = case.calls(record)
            for before, after in pairwise(calls):
                if before.lost and not (isinstance(before.answer, NoReply) and not before.answer.sent):
                    yield Broken("held is never doubled", f"{mark}: {before}, and then {after}", (mark,))


# ---------------------------------------------------------------- 3. order


def order(case: Case) -> Iterator[Broken]:
    """Sends of one chat and priority arrive in the order of acceptance. Exempt: scheduled ones, those that moved to the
    slow schedule (unless strict), those retried by hand."""
    lanes: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in sorted(case.e.records, key=lambda r: r.seq):
        if kind_of(record.method) is Kind.SEND:
            lanes[case.chat(record.chat), record.priority].append(record)
    for (chat, _), records in lanes.items():
        latest: tuple[int, str] = (0, "")
        for record in records:
            mark = case.mark(record) or ""
            copies = case.copies.get(mark)
            if not copies or _exempt(case, record, mark):
                continue
            if copies[0].number < latest[0]:
                yield Broken("order", f"{mark} arrived in {chat} before {latest[1]}", (mark, latest[1]))
            latest = max(latest, (copies[0].number, mark))


def _exempt(case: Case, record: Record, mark: str) -> bool:
    plan = case.plans.get(mark)
    if plan is None or plan.due_in is not None or case.requeued(record) is not None:
        return True
    return any(gave_way(s) for s in case.settled_of.get(record.id, ()))


def gave_way(settled: Settled) -> bool:
    """Did the message move to the slow schedule?"""
    return settled.settlement.later


def strict(case: Case) -> Iterator[Broken]:
    """A strict message never gives up its place."""
    for record in case.e.records:
        if record.options.ordering == "strict" and any(
            s.settlement.later for s in case.settled_of.get(record.id, ())
        ):
            yield Broken("strict", f"{case.mark(record)} gave up its place", (case.mark(record) or "",))


def sets(case: Case) -> Iterator[Broken]:
    """What changes one message takes effect in the order of acceptance; what is to be seen at the end is the last."""
    for sent in case.e.sent.values():
        changes = [case.by_id[id] for id in sent.edit_ids.values() if id in case.by_id]
        changes.sort(key=lambda record: record.seq)
        latest: tuple[int, str] = (0, "")
        for record in changes:
            mark = case.mark(record) or ""
            entries = [
                e for e in case.journal.entries
                if e.mark == mark and e.status == 200 and case.chat(e.chat) == case.chat(record.chat)
            ]  # fmt: skip
            if entries and case.requeued(record) is None:
                if entries[0].number < latest[0]:
                    yield Broken("edits in order", f"{mark} took effect before {latest[1]}", (mark, latest[1]))
                latest = max(latest, (entries[-1].number, mark))


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
        elif isinstance(thing, OutageEnded):
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
        if chat is None or chat.trouble or not copies or _exempt(case, record, mark):
            continue
        n = lanes[case.chat(record.chat)]
        own = n * trip
        if s.pace == "on":
            own += 1.05 * n if chat.type == "private" else 61.0 * ((n + 20) // 20) * (n > 15)
        waited = copies[0].at - record.accepted_at
        if waited > own + crowd + 3.0:
            what = f"{mark} waited {waited:.1f} s; its pace explains {own:.1f} s, the others {crowd:.1f} s"
            yield Broken("nobody waits for another's trouble", what, (mark, record.chat))


# ---------------------------------------------------------------- 7. ends with reasons


def reasons(case: Case) -> Iterator[Broken]:
    """A dead letter has a reason that the scenario explains."""
    for record in case.e.records:
        if record.state is State.DEAD and not _explained(case, record):
            mark = case.mark(record)
            what = f"{mark} to {record.chat}: {record.reason} ({len(record.attempts)} attempts, {record.tries} tries)"
            yield Broken("dead letters are explained", what, (mark or record.id, record.id))


def _explained(case: Case, record: Record) -> bool:
    reason, mark = record.reason or "", case.mark(record) or ""
    plan, chat = case.plans.get(mark), case.chats.get(record.chat)
    trouble = chat.trouble if chat else ""
    if reason.startswith("poison: in flight at"):
        crashes = [a for a in record.attempts if a.error == CRASHED]
        return len(crashes) >= 3 and len(case.log.kills) + len(case.s.troubles) >= 3
    if reason.startswith("unknown:"):
        doubts = [a for a in record.attempts if a.outcome == "unknown"]
        return bool(doubts) and ((plan is not None and plan.held) or _used_up(case, record))
    if reason.startswith("gave up after"):
        return _used_up(case, record)
    if any(word in reason for word in ("blocked", "deactivated", "initiate", "kicked")):
        return trouble in ("blocked", "deactivated", "never_started", "kicked")
    if "not enough rights" in reason:
        return trouble == "no_rights"
    if plan is not None and plan.kind in ("too_long", "bad_markup"):
        return "too long" in reason or "can't parse entities" in reason
    if "message to edit not found" in reason:
        return any(mark in sent.edit_ids and sent.plan.delete for sent in case.e.sent.values())
    return False


def _used_up(case: Case, record: Record) -> bool:
    """Were all its tries used up by calls that failed while Telegram was there?"""
    most = record.options.max_attempts or len(QUICK) + len(SLOW) + 1
    failed = [
        a for a in record.attempts
        if a.outcome in ("failed", "unknown") and a.error != CRASHED
        and not ((o := case.outage_at(a.started_at)) and o.kind in UNREACHED)
    ]  # fmt: skip
    return len(failed) >= most


def not_after(case: Case) -> Iterator[Broken]:
    """Nothing is called after it expired, was cancelled, was superseded, or before it is due."""
    for record in case.e.records:
        if case.requeued(record) is not None:
            continue
        for call in case.calls(record):
            about = (call.mark or record.id, record.id)
            if record.expires_at is not None and call.started >= record.expires_at + TINY:
                yield Broken("expired is not sent", f"{call} {call.started - record.expires_at:.3f} s late", about)
            if record.state in (State.CANCELLED, State.EXPIRED) and record.ended_at is not None:
                if call.started > record.ended_at + TINY:
                    yield Broken(f"{record.state} is not sent", str(call), about)
        due_at = case.due_at.get(record.id, 0.0)
        early = [c for c in case.calls(record) if c.started < due_at - TINY]
        if early:
            yield Broken("scheduled waits", f"{early[0]} before it is due", (record.id,))


def suppressed(case: Case) -> Iterator[Broken]:
    """Once Telegram refused a recipient for good, nothing is sent there until somebody lifts that."""
    closed: dict[str, float] = {}
    lifted: dict[str, list[float]] = defaultdict(list)
    for record in case.e.records:
        for at, what in case.log.changed.get(record.id, ()):
            if what == "Requeue":
                lifted[case.chat(record.chat)].append(at)
        for call in case.calls(record):
            for settled in case.settled_of.get(record.id, ()):
                attempt = settled.settlement.attempt
                if _for_good(call) and attempt and abs(attempt.started_at - call.started) < TINY:
                    chat = case.chat(call.chat)
                    closed[chat] = min(closed.get(chat, settled.at), settled.at)
    for call in case.log.calls:
        chat = case.chat(call.chat)
        at = closed.get(chat)
        if at is None or call.started <= at + TINY or any(t <= call.started for t in lifted[chat]):
            continue
        yield Broken("suppressed is not sent", f"{call} at {call.started - EPOCH:.3f}", (call.mark or "", chat))


def _for_good(call: CallRecord) -> bool:
    """Did Telegram say that this recipient is out of reach?"""
    if not isinstance(call.answer, Reply) or call.answer.status != 403:
        return False
    words = str((call.answer.payload or {}).get("description"))
    return any(word in words for word in ("blocked", "deactivated", "initiate", "kicked"))


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


CHECKS: Iterable[Check] = (
    no_errors, ends, kept, arrived, doubles, held, honest, order, strict, sets, waits, paused, no_429,
    outage_costs_nothing, probes, neighbours, reasons, not_after, suppressed, counters, one_in_flight, leases,
    clean_stops,
)  # fmt: skip

__all__ = ["Broken", "Plan", "check", "judge"]
