"""The verbs a courier lives by: `lease`, `claim`, `adopt`, `settle`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from kurir.core.message import DEFAULT_OPTIONS, Attempt, Claim, FileRef, Priority, State
from kurir.ports import Claimed, Lease, Settlement
from kurir.stores.codec import load_files, load_options

from . import lanes
from .submit import check_keys, submit_again
from .transaction import CODE_OF, Code, Q, Transaction

_PRIORITIES = tuple(Priority)
LOOK_AHEAD = 100  # messages for later that are looked at to tell when the next is due (as in `next_later`)
RECENT = 60.0  # seconds of attempts that a new holder's pace is rebuilt from
IsDead = Callable[[str], bool]


def lease(tx: Transaction, holder: str, bots: Sequence[int], until: float, now: float, is_dead: IsDead) -> list[Lease]:
    """See `ports.Store.lease`. `is_dead` tells whether another holder's process is gone."""
    leases: list[Lease] = []
    if not bots:
        tx.db.execute(Q["sign_of_life"], (now,))
    for bot in bots:
        tx.db.execute(Q["add_bot"], (bot,))
        owner, token, lease_until, paused_until, why = tx.db.execute(Q["bot"], (bot,)).fetchone()
        mine = owner == holder
        if until <= now:
            if mine:
                tx.db.execute(Q["set_lease"], (None, token, 0, bot))
            continue
        if not mine:
            if owner is not None and not is_dead(owner) and lease_until > now:
                continue  # (asked first: that tidies up after the dead)
            token += 1
        tx.db.execute(Q["set_lease"], (holder, token, until, bot))
        orphans = tx.db.execute(Q["has_orphans"], (bot, token)).fetchone() is not None
        recent = () if mine else _recent(tx, bot, now)
        lone = _lone(tx, bot, token) if orphans and not mine else None
        leases.append(Lease(bot, holder, token, until, paused_until, why, orphans, lone, recent))
    return leases


def _lone(tx: Transaction, bot: int, token: int) -> str | None:
    row = tx.db.execute(Q["lone_orphan"], {"bot": bot, "token": token}).fetchone()
    return row[0] if row and row[1] == 1 else None


def _recent(tx: Transaction, bot: int, now: float) -> tuple[tuple[str, float], ...]:
    rows = tx.db.execute(Q["recent_attempts"], {"bot": bot, "since": now - RECENT}).fetchall()
    return tuple((chat, at) for chat, at in rows)


def _holds(tx: Transaction, lease: Lease, now: float | None = None) -> tuple[bool, float]:
    """Whether the lease is still good, and until when the bot is paused."""
    row = tx.db.execute(Q["bot"], (lease.bot,)).fetchone()
    if row is None or row[0] != lease.holder or row[1] != lease.token:
        return False, 0.0
    return now is None or row[2] >= now, row[3]


def claim(tx: Transaction, lease: Lease, now: float, limit: int, low: int) -> Claimed:
    """See `ports.Store.claim`."""
    good, paused_until = _holds(tx, lease, now)
    if not good:
        return Claimed((), None)
    if paused_until > now:
        return Claimed((), None if math.isinf(paused_until) else paused_until)
    _promote(tx, lease.bot, now)
    ready: list[_Ready] = []
    if low:
        ready += tx.db.execute(Q["ready_lanes"], (lease.bot, Priority.LOW, now, min(low, limit)))
    taken = {row[0] for row in ready}
    for priority in Priority:
        room = limit - len(ready)
        if room <= 0:
            break
        extra = len(taken) if priority is Priority.LOW else 0
        rows = tx.db.execute(Q["ready_lanes"], (lease.bot, priority, now, room + extra)).fetchall()
        ready += [row for row in rows if row[0] not in taken][:room]
    ready.sort(key=lambda row: (row[1], row[2], row[0]))
    tx.db.executemany(Q["take_lane"], [(lease.token, row[0]) for row in ready])
    claims = [_claim(tx, lease, *row) for row in ready]
    if claims:
        tx.sending(lease.bot, len(claims))
    return Claimed(tuple(claims), _next_at(tx, lease.bot, now))


def _promote(tx: Transaction, bot: int, now: float) -> None:
    """Messages for later whose time has come take their places; a lane's new head came to its turn when it was due."""
    due = tx.db.execute(Q["due_later"], (bot, now)).fetchall()
    if not due:
        return
    tx.db.executemany(Q["promote"], [(row[0],) for row in due])
    first: dict[int, tuple[int, int, int, float]] = {}
    for seq, lane, prio, pos, due_at in due:
        best = first.get(lane)
        if best is None or (prio, pos, seq) < best[:3]:
            first[lane] = (prio, pos, seq, due_at)
    for lane, (_, _, _, due_at) in first.items():
        lanes.refresh(tx, lane, due_at)


def _next_at(tx: Transaction, bot: int, now: float) -> float | None:
    times: list[float] = []
    for priority in Priority:
        row = tx.db.execute(Q["next_ready"], (bot, priority, -1.0)).fetchone()
        if row and not math.isinf(row[0]):
            times.append(max(row[0], now))
    best = min(times, default=math.inf)
    looked_at, first = 0, math.inf
    for due_at, chat_at, in_flight in tx.db.execute(Q["next_later"], (bot,)):
        first = min(first, due_at)
        if due_at >= best:
            break
        looked_at += 1
        if not in_flight:
            best = min(best, max(due_at, chat_at, now))
    if looked_at == LOOK_AHEAD:  # all of them behind something else: look again when the first is due
        best = min(best, max(first, now + 1.0))
    return None if math.isinf(best) else best


_Ready = tuple[Any, ...]  # the columns of `ready_lanes` and `orphans`, which `_claim` takes


def _claim(
    tx: Transaction,
    lease: Lease,
    lane: int,
    prio: int,
    _: float,
    head: int,
    chat: str,
    suppressed: str | None,
    id: str,
    method: str,
    params: bytes,
    accepted_at: float,
    files: str | None,
    expires_at: float | None,
    options: str | None,
    tries: int,
    attempts: int,
    doubts: int,
    crashes: int,
    asked_at: float | None,
    requeued_at: float | None,
) -> Claim:
    refs = load_files(files) if files else ()
    return Claim(
        head,
        lease.token,
        lane,
        id,
        lease.bot,
        chat,
        method,
        params,
        _PRIORITIES[prio],
        accepted_at,
        refs,
        expires_at,
        load_options(options) if options else DEFAULT_OPTIONS,
        tries,
        attempts,
        doubts,
        crashes,
        suppressed,
        _file_ids(tx, lease.bot, refs) if refs else {},
        asked_at,
        requeued_at,
    )


def _file_ids(tx: Transaction, bot: int, files: tuple[FileRef, ...]) -> dict[tuple[str, str], str]:
    known = {}
    for file in files:
        for sha256, kind, file_id in tx.db.execute(Q["file_ids"], (bot, file.sha256)):
            known[sha256, kind] = file_id
    return known


def adopt(tx: Transaction, lease: Lease, limit: int, suspects: bool) -> list[Claim]:
    """See `ports.Store.adopt`."""
    if not _holds(tx, lease)[0]:
        return []
    values = {"bot": lease.bot, "token": lease.token, "limit": limit, "suspects": int(suspects)}
    claims = []
    for row in tx.db.execute(Q["orphans"], values).fetchall():
        tx.db.execute(Q["take_lane"], (lease.token, row[0]))
        claims.append(_claim(tx, lease, *row))
    return claims


def settle(tx: Transaction, settlements: Sequence[Settlement], now: float) -> list[bool]:
    """See `ports.Store.settle`."""
    follow_ups = [draft for s in _valid(tx, settlements) for draft in s.follow_ups]
    if follow_ups:
        check_keys(tx, follow_ups)
    answers: list[bool] = []
    for simple, run in groupby(settlements, _simple):
        some = list(run)
        answers += _deliver(tx, some, now) if simple else [_settle(tx, s, now) for s in some]
    return answers


def _simple(s: Settlement) -> bool:
    """Delivered, and that is all."""
    return (
        s.state is State.DELIVERED
        and s.attempt is not None
        and not (s.before or s.follow_ups or s.file_ids or s.suppress or s.moved_to)
    )


def _deliver(tx: Transaction, settlements: Sequence[Settlement], now: float) -> list[bool]:
    """`_settle` for many of the usual case, each table in one go."""
    messages, attempts, freed = [], [], {}
    answers = []
    for s in settlements:
        claim, a = s.claim, s.attempt
        assert a is not None
        held = (
            None if claim.lane in freed else tx.db.execute(Q["held"], (claim.lane, claim.token, claim.seq)).fetchone()
        )
        answers.append(held is not None)
        if held is None:
            tx.fenced(claim.bot)
            continue
        waiting, chat_at, head, prio, due_at = held
        head_at = None if head is None else max(due_at, now)
        chat_at = max(chat_at, s.chat_at)
        next_at = None if head_at is None else max(head_at, chat_at)
        freed[claim.lane] = (chat_at, chat_at, waiting - 1, head, prio, head_at, next_at, claim.lane)
        messages.append((s.due_at, now, s.reason, s.tries, claim.attempts + 1, s.doubts, s.crashes, claim.seq))
        attempts.append(_attempt_row(claim.seq, a, s.result))
        tx.delivered(claim.bot, now, waiting == 1)
    tx.db.executemany(Q["deliver_message"], messages)
    tx.db.executemany(Q["insert_attempt"], attempts)
    tx.db.executemany(Q["next_in_lane"], freed.values())
    return answers


def _valid(tx: Transaction, settlements: Sequence[Settlement]) -> Iterator[Settlement]:
    """Of the settlements with follow-ups, those that will not be fenced."""
    seen: set[int] = set()
    for s in settlements:
        if s.follow_ups and s.claim.seq not in seen:
            values = {"lane": s.claim.lane, "token": s.claim.token, "seq": s.claim.seq}
            if tx.db.execute(Q["in_flight"], values).fetchone():
                seen.add(s.claim.seq)
                yield s


def _settle(tx: Transaction, s: Settlement, now: float) -> bool:
    claim, attempt = s.claim, s.attempt
    if attempt is None and s.state is State.WAITING:  # handed back
        tries, doubts, crashes = s.tries or claim.tries, s.doubts or claim.doubts, s.crashes or claim.crashes
        s = replace(s, tries=tries, doubts=doubts, crashes=crashes)
    newer = (
        tx.db.execute(Q["newer_of_target"], (claim.seq,)).fetchone() if s.later and s.state is State.WAITING else None
    )
    if newer:
        s = replace(s, state=State.CANCELLED, reason="superseded", due_at=0.0)
    final = s.state is not State.WAITING
    code = CODE_OF[s.state] if final else Code.LATER if s.later and s.due_at > now else Code.READY
    changed = tx.db.execute(
        Q["settle_message"],
        {
            "state": int(code),
            "reason": s.reason,
            "due_at": s.due_at,
            "ended_at": now if final else None,
            "tries": s.tries,
            "attempts": claim.attempts + (attempt is not None),
            "doubts": s.doubts,
            "crashes": s.crashes,
            "seq": claim.seq,
            "lane": claim.lane,
            "token": claim.token,
        },
    ).rowcount
    if not changed:
        tx.fenced(claim.bot)
        return False
    if newer:
        tx.db.execute(Q["mark_superseded"], (newer[0], claim.seq))
    if s.before is not None:
        _record(tx, claim.seq, s.before, None)
    if attempt is not None:
        _record(tx, claim.seq, attempt, s.result)
    free = {"now": now, "chat_at": s.chat_at, "ended": int(final), "lane": claim.lane}
    waiting = tx.db.execute(Q["free_lane"], free).fetchone()[0]
    tx.sending(claim.bot, -1)
    if final:
        tx.waiting(claim.bot, -1)
        tx.ended(claim.bot, code, now)
        if waiting == 0:
            tx.lanes(claim.bot, -1)
    if s.moved_to or s.suppress or s.file_ids or s.follow_ups:
        _consequences(tx, s, now)
    return True


def _record(tx: Transaction, seq: int, attempt: Attempt, result: bytes | None) -> None:
    tx.db.execute(Q["insert_attempt"], _attempt_row(seq, attempt, result))


def _attempt_row(seq: int, a: Attempt, result: bytes | None) -> tuple[object, ...]:
    told = result.decode() if result is not None else None
    return seq, a.number, a.started_at, a.duration, a.outcome, a.status, a.error, told


def _consequences(tx: Transaction, s: Settlement, now: float) -> None:
    claim, lane = s.claim, s.claim.lane
    if s.moved_to is not None:
        lane = lanes.move(tx, claim.bot, lane, claim.chat, s.moved_to, now)
    if s.suppress is not None:
        lanes.suppress(tx, claim.bot, lane, s.suppress, now)
    for sha256, kind, file_id in s.file_ids:
        tx.db.execute(Q["learn_file_id"], (claim.bot, sha256, kind, file_id))
    if s.follow_ups:
        submit_again(tx, s.follow_ups, now)
