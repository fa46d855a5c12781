"""The verbs of the memory store. None waits inside, so each is atomic; refusals come before changes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice, product

from kurir.core.errors import KeyConflict, StoreFull
from kurir.core.message import Accepted, Attempt, Claim, Draft, State
from kurir.core.rows import Section
from kurir.ports import (
    ApiKey,
    Cancel,
    Change,
    Chunk,
    Claimed,
    Expire,
    LanePage,
    LaneQuery,
    Lease,
    Page,
    Pruned,
    Purge,
    Query,
    Requeue,
    Roll,
    Row,
    Settlement,
    Stats,
)

from .book import MAX_PAGE, Book, parse_cursor
from .dump import Cargo
from .keys import Keys
from .lanes import Lanes
from .leases import RECENT, lease_of
from .model import Bot, Lane, Message, claim_of, record_of, stats_of
from .watchers import Watchers
from .workers import Workers

LANE_REST = 3600.0  # seconds for which an empty lane keeps what its chat was paused until
ALLOWED: dict[type[Change], tuple[State, ...]] = {
    Cancel: (State.WAITING,),
    Expire: (State.WAITING,),
    Requeue: (State.DEAD, State.CANCELLED, State.EXPIRED),
    Purge: (State.DELIVERED, State.DEAD, State.CANCELLED, State.EXPIRED),
}


class MemoryStore:
    """Facts in memory, shared by all who hold the object; `close` therefore ends nothing and loses nothing.

    `cap`: beyond that many messages `submit` raises StoreFull, as a full disk would (None: no bound).
    """

    def __init__(self, cap: int | None = None) -> None:
        self.cap = cap
        self._book = Book()
        self._lanes = Lanes()
        self._keys = Keys()
        self._workers = Workers()
        self._file_ids: dict[tuple[int, str], dict[str, str]] = {}  # (bot, sha256) -> kind -> file_id
        self._watchers = Watchers()
        self._cargo = Cargo(self._book, self._lanes, self._keys, self._file_ids)

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Nothing to release: what is stored lives as long as the object."""

    # ------------------------------------------------------------ submit

    async def submit(self, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        self._refuse(drafts)
        accepted = [self._accept(draft, now) for draft in drafts]
        self._watchers.changed()
        return accepted

    def _refuse(self, drafts: Iterable[Draft]) -> None:
        """Raise what forbids to keep all of these drafts."""
        keys: dict[tuple[int, str], tuple[str, bytes | None]] = {}
        ids: dict[str, None] = {}
        for draft in drafts:
            if draft.id in ids or self._book.by_id(draft.id):  # the same submit once more
                continue
            if draft.key is not None:
                known = self._book.by_key(draft)
                mine = (known.draft.id, known.draft.digest) if known else (draft.id, draft.digest)
                first = keys.setdefault((draft.bot, draft.key), mine)
                if first[1] != draft.digest:
                    raise KeyConflict(draft.key, first[0])
                if first[0] != draft.id or known:
                    continue
            ids[draft.id] = None
        if self.cap is not None and len(self._book.messages) + len(ids) > self.cap:
            raise StoreFull(f"the store is capped at {self.cap} messages", "Prune it, or raise the cap.")

    def _accept(self, draft: Draft, now: float) -> Accepted:
        if same := self._book.by_id(draft.id):
            return Accepted(draft.id, same.shown_state, seq=same.seq)
        if known := self._book.by_key(draft):
            return Accepted(known.draft.id, known.shown_state, duplicate=True, seq=known.seq)
        lane = self._lanes.lane(draft.bot, draft.chat)
        if draft.force:
            lane.suppressed = None
        seq = self._book.next_seq()
        message = Message(draft, seq, seq, draft.due_at if draft.due_at > now else 0.0, draft.expires_at)
        self._book.add(message)
        lane.messages += 1
        if lane.suppressed is not None:
            self._count(message, 1)
            self._conclude(message, State.DEAD, f"suppressed: {lane.suppressed}", now)
            return Accepted(draft.id, message.state, seq=seq)
        return Accepted(draft.id, message.state, seq=seq, replaces=self._wait(message, lane, now))

    def _wait(self, message: Message, lane: Lane, now: float) -> str | None:
        """A new message joins its lane, perhaps in the place of an older one that it replaces: answers that one's id."""
        self._count(message, 1)
        older = lane.replaceable(message) if message.draft.coalesce else None
        if older is None:
            self._lanes.add(message, now)
            return None
        in_place = not lane.has_behind(older)
        was_head, turn = lane.head == older.seq, min(max(lane.since, older.due_at), now)
        self._finish(older, State.CANCELLED, "superseded", now)
        older.superseded_by = message.draft.id
        if in_place:
            message.pos = older.pos
        self._lanes.add(message, now)
        if in_place and was_head and lane.head == message.seq:
            lane.since = turn
            self._lanes.place(lane, turn)
        return older.draft.id

    # ------------------------------------------------------------ leases, claims

    async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        held = []
        for id in dict.fromkeys(bots):
            bot = self._lanes.bot(id)
            new = bot.holder != holder and (bot.holder is None or bot.until <= now)
            if until <= now:
                if bot.holder == holder:
                    bot.holder, bot.until = None, 0.0
                    self._watchers.changed()
                continue
            if new:
                bot.holder, bot.token = holder, bot.token + 1
            if bot.holder == holder:
                bot.until = until
                held.append(lease_of(bot, new, now, self._book, self._lanes))
        return held

    async def attend(self, holder: str, bots: Sequence[int], until: float, now: float) -> Roll:
        if self._workers.attend(holder, bots, until, now):
            self._watchers.changed()
        return Roll(self._workers.alive, {bot.id: bot.holder for bot in self._lanes.held(now) if bot.holder})

    async def claim(self, lease: Lease, now: float, limit: int, low: int = 0) -> Claimed:
        bot = self._lanes.bot(lease.bot)
        if not self._current(lease, bot) or bot.until < now:
            return Claimed((), None)
        if bot.paused_until > now:
            return Claimed((), None if bot.paused_until == float("inf") else bot.paused_until)
        while (seq := bot.later.due(now)) is not None:
            self._lanes.promote(self._book.messages[seq])
        taken = self._lanes.take(bot, now, limit, low)
        claims = tuple(self._claim_of(message, lane, bot) for message, lane in taken)
        next_at = bot.next_ready()
        return Claimed(claims, next_at if next_at is None else max(next_at, now))

    async def adopt(self, lease: Lease, limit: int, suspects: bool = False) -> list[Claim]:
        bot = self._lanes.bot(lease.bot)
        if not self._current(lease, bot):
            return []
        orphans = [m for m in bot.flying.values() if m.token != bot.token and (m.crashes > 0) is suspects]
        orphans.sort(key=lambda message: self._lanes.of(message).id)
        claims = []
        for message in orphans[:limit]:
            message.token = bot.token
            claims.append(self._claim_of(message, self._lanes.of(message), bot))
        return claims

    def _current(self, lease: Lease, bot: Bot) -> bool:
        return bot.holder == lease.holder and bot.token == lease.token

    def _claim_of(self, message: Message, lane: Lane, bot: Bot) -> Claim:
        known = {
            (file.sha256, kind): file_id
            for file in message.draft.files
            for kind, file_id in self._file_ids.get((bot.id, file.sha256), {}).items()
        }
        return claim_of(message, lane, bot.token, known)

    # ------------------------------------------------------------ settle

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[bool]:
        valid: dict[int, Settlement] = {}
        answers = []
        for settlement in settlements:
            claim = settlement.claim
            message = self._book.by_id(claim.id)
            answers.append(message is not None and message.token == claim.token and message.seq not in valid)
            if message and answers[-1]:
                valid[message.seq] = settlement
        self._refuse([draft for settlement in valid.values() for draft in settlement.follow_ups])
        for settlement, good in zip(settlements, answers, strict=True):
            if not good:
                self._lanes.bot(settlement.claim.bot).fenced += 1
        for seq, settlement in valid.items():
            self._settle(self._book.messages[seq], settlement, now)
        self._watchers.changed()
        return answers

    def _settle(self, message: Message, settlement: Settlement, now: float) -> None:
        lane = self._lanes.of(message)
        lane.quiet(settlement.chat_at)
        self._note(message, settlement, now)
        message.due_at = settlement.due_at
        newer = lane.newer(message) if settlement.later and settlement.state is State.WAITING else None
        if newer is not None:
            message.due_at, message.superseded_by = 0.0, newer.draft.id
            self._finish(message, State.CANCELLED, "superseded", now)
        elif settlement.state.final:
            self._finish(message, settlement.state, settlement.reason, now)
            message.result = settlement.result
        else:
            message.reason = settlement.reason
            self._lanes.stand_back(message, now, settlement.later)
        if settlement.moved_to is not None:
            self._lanes.move(lane, settlement.moved_to, now)
        if settlement.suppress is not None:
            self._suppress(self._lanes.of(message), settlement.suppress, now)
        for draft in settlement.follow_ups:
            self._accept(draft, now)

    def _note(self, message: Message, settlement: Settlement, now: float) -> None:
        """Counters, attempt, file ids."""
        bot, attempt = self._lanes.bot(message.draft.bot), settlement.attempt
        kept = attempt is None and settlement.state is State.WAITING  # handed back
        message.tries = settlement.tries or (message.tries if kept else 0)
        message.doubts = settlement.doubts or (message.doubts if kept else 0)
        message.crashes = settlement.crashes or (message.crashes if kept else 0)
        for made in (settlement.before, attempt):
            if made is not None:
                self._attempt(message, made, bot, now)
        for sha256, kind, file_id in settlement.file_ids:
            self._file_ids.setdefault((bot.id, sha256), {})[kind] = file_id

    def _attempt(self, message: Message, attempt: Attempt, bot: Bot, now: float) -> None:
        message.attempts.append(replace(attempt, number=len(message.attempts) + 1))
        bot.calls += 1
        heapq.heappush(bot.recent, (attempt.started_at, bot.calls, message.seq))
        while bot.recent and bot.recent[0][0] <= now - RECENT:
            heapq.heappop(bot.recent)

    # ------------------------------------------------------------ find, alter

    async def find(self, query: Query) -> Page:
        limit = max(0, min(query.limit, MAX_PAGE))
        found = list(islice(self._book.select(query, self._lanes.today), limit + 1))
        items = tuple(
            record_of(m, self._lanes.today(m.draft.bot, m.draft.chat), query.with_attempts) for m in found[:limit]
        )
        return Page(items, str(items[-1].seq) if items and len(found) > limit else None)

    async def alter(self, query: Query, change: Change, now: float) -> list[str]:
        states = [s for s in ALLOWED[type(change)] if not query.states or s in query.states]
        if not states:
            return []
        oldest = replace(query, states=tuple(states), oldest_first=True)  # so a requeue keeps their order
        chosen = list(islice(self._book.select(oldest, self._lanes.today), max(0, min(query.limit, MAX_PAGE))))
        for message in chosen:
            self._alter(message, change, now)
        self._watchers.changed()
        return [message.draft.id for message in chosen]

    def _alter(self, message: Message, change: Change, now: float) -> None:
        match change:
            case Cancel(reason):
                self._finish(message, State.CANCELLED, reason, now)
            case Expire(reason):
                self._finish(message, State.EXPIRED, reason, now)
            case Requeue():
                self._requeue(message, now)
            case Purge():
                self._remove(message)
                self._tidy([self._lanes.of(message)], now)

    def _requeue(self, message: Message, now: float) -> None:
        self._count(message, -1)
        self._book.revived(message)
        message.state, message.pos = State.WAITING, self._book.next_seq()
        message.due_at, message.requeued_at, message.expires_at, message.ended_at = 0.0, now, None, None
        message.reason = message.result = message.superseded_by = None
        message.tries = message.doubts = message.crashes = 0
        self._count(message, 1)
        self._lanes.of(message).suppressed = None
        self._lanes.add(message, now)

    # ------------------------------------------------------------ lanes, keys

    async def lanes(self, query: LaneQuery) -> LanePage:
        limit, after = max(0, min(query.limit, MAX_PAGE)), parse_cursor(query.cursor)
        found = list(islice(self._lanes.select(query, -1 if after is None else after), limit + 1))
        items = tuple(lane for _, lane in found[:limit])
        return LanePage(items, str(found[limit - 1][0]) if items and len(found) > limit else None)

    async def add_key(self, key: ApiKey) -> None:
        self._keys.add(key)
        self._watchers.changed()

    async def keys(self) -> list[ApiKey]:
        return self._keys.all()

    async def revoke_key(self, id: str, now: float) -> bool:
        revoked = self._keys.revoke(id, now)
        self._watchers.changed()
        return revoked

    # ------------------------------------------------------------ carrying all of it elsewhere

    async def dump(self, section: Section, cursor: str | None = None, limit: int = 1000) -> Chunk:
        return self._cargo.dump(section, cursor, limit)

    async def load(self, section: Section, rows: Sequence[Row]) -> None:
        self._cargo.load(rows)
        self._watchers.changed()

    async def mark(self, mark: str | None) -> None:
        self._cargo.mark = mark

    async def marked(self) -> str | None:
        return self._cargo.mark

    # ------------------------------------------------------------ steer, suppress

    async def steer(
        self, bot: int, *, chat: str | None = None, until: float, reason: str | None = None, extend: bool = False
    ) -> None:
        if chat is None:
            row = self._lanes.bot(bot)
            if not extend or until > row.paused_until:
                row.paused_until, row.paused_why = until, reason
        else:
            self._lanes.hold(self._lanes.lane(bot, chat), until, reason)
        self._watchers.changed()

    async def suppress(self, bot: int, chat: str, why: str | None, now: float) -> None:
        self._suppress(self._lanes.lane(bot, chat), why, now)
        self._watchers.changed()

    def _suppress(self, lane: Lane, why: str | None, now: float) -> None:
        lane.suppressed, lane.suppressed_at = why, now
        if why is not None:
            for message in [m for m in lane.waiting.values() if m is not lane.flying]:
                self._finish(message, State.DEAD, f"suppressed: {why}", now)

    # ------------------------------------------------------------ stats, prune, watch

    async def stats(self, bot: int | None = None, days: int = 31) -> Stats:
        bots = [row for id, row in sorted(self._lanes.bots.items()) if bot in (None, id)]
        about = {"engine": "memory", "messages": len(self._book.messages)}
        return Stats(tuple(stats_of(row) for row in bots), self._book.days(bot, days), about)

    async def prune(self, before: float, now: float, limit: int = 1000, lift_before: float = 0.0) -> Pruned:
        self._lanes.lift_old_suppressions(lift_before)
        messages, files = 0, []
        lanes: dict[int, Lane] = {}
        while messages < limit and (message := self._book.oldest_ended(before, now)):
            lane = self._lanes.of(message)
            lanes[lane.id] = lane
            files += self._remove(message)
            messages += 1
        for bot, sha256 in product(self._lanes.bots, files):
            self._file_ids.pop((bot, sha256), None)
        return Pruned(messages, self._tidy(lanes.values(), now), tuple(sorted(files)))

    def _tidy(self, lanes: Iterable[Lane], now: float) -> int:
        """Forget those of the lanes of which nothing need be remembered; how many."""
        idle = [lane for lane in lanes if lane.idle(now - LANE_REST)]
        for lane in idle:
            self._lanes.forget(lane)
        return len(idle)

    async def watch(self, timeout: float) -> None:
        await self._watchers.watch(timeout)

    # ------------------------------------------------------------ how messages end

    def _finish(self, message: Message, state: State, reason: str | None, now: float) -> None:
        """A waiting message (in flight or not) reaches a final state."""
        self._lanes.remove(message, now)
        self._conclude(message, state, reason, now)

    def _conclude(self, message: Message, state: State, reason: str | None, now: float) -> None:
        self._count(message, -1)
        message.state, message.reason, message.ended_at = state, reason, now
        self._count(message, 1)
        self._book.ended(message)

    def _remove(self, message: Message) -> list[str]:
        """A final message is forgotten. Answers the files that only it referred to."""
        self._count(message, -1)
        self._lanes.of(message).messages -= 1
        return self._book.remove(message)

    def _count(self, message: Message, n: int) -> None:
        self._lanes.bot(message.draft.bot).counts[message.state] += n
