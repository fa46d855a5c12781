"""What is promised of messages: they end, once, in order, for a reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

import orjson

from kurir.core.judge import CRASHED
from kurir.core.message import Record, State
from kurir.core.methods import Kind, kind_of
from kurir.core.outcome import NoReply, Reply
from kurir.core.policy import QUICK, SLOW
from tests.virtual import EPOCH

from .case import TINY, Broken, Case, exempt
from .process import CallRecord
from .scenario import UNREACHED

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
        plain = [mark for mark in marks if case.plans[mark].key is None]
        stored = [mark for mark in plain if mark in case.marked]
        if stored and len(stored) < len(plain):
            yield Broken("all or none", f"of a batch of {len(plain)} only {len(stored)} are kept", tuple(plain))


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
        record = next(iter(case.marked.get(mark, ())), None)
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
        if sends and call.lost and attempt.outcome != "unknown" and not unreached:
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
            if not copies or exempt(case, record, mark):
                continue
            if copies[0].number < latest[0]:
                yield Broken("order", f"{mark} arrived in {chat} before {latest[1]}", (mark, latest[1]))
            latest = max(latest, (copies[0].number, mark))


def strict(case: Case) -> Iterator[Broken]:
    """A strict message never gives up its place."""
    for record in case.e.records:
        if record.options.ordering == "strict" and any(s.settlement.later for s in case.settled_of.get(record.id, ())):
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
        edited = case.plans.get(mark.partition("e")[0])
        return edited is not None and edited.delete
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
            over = case.over_at(record)
            if over is not None and call.started > over + TINY:
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
        since = closed.get(chat)
        if since is None or call.started <= since + TINY or any(t <= call.started for t in lifted[chat]):
            continue
        yield Broken("suppressed is not sent", f"{call} at {call.started - EPOCH:.3f}", (call.mark or "", chat))


def _for_good(call: CallRecord) -> bool:
    """Did Telegram say that this recipient is out of reach?"""
    if not isinstance(call.answer, Reply) or call.answer.status != 403:
        return False
    words = str((call.answer.payload or {}).get("description"))
    return any(word in words for word in ("blocked", "deactivated", "initiate", "kicked"))
