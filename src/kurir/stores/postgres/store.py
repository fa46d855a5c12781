"""The PostgreSQL store: the verbs of `ports.Store` as one round trip each, carried out by functions in the server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar, assert_never

import orjson

from kurir.core.errors import StoreError
from kurir.core.message import Accepted, Claim, Draft, State
from kurir.core.rows import Section
from kurir.ports import (
    KEY_LIFE,
    ApiKey,
    Cancel,
    Change,
    Chunk,
    Claimed,
    Clock,
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
    Settlement,
    Stats,
    Worker,
)
from kurir.stores.batches import Batches, touched
from kurir.stores.breaker import Breaker, Circuit
from kurir.stores.clock import ServerClock

from . import claims, keys, reads, settling, submit
from .address import parse
from .blobs import Blobs
from .connections import Pool, Work
from .dump import Cargo
from .engine import Engine, not_open, start
from .errors import Away
from .joining import Joins
from .searching import is_short
from .submit import Call as Submission

T = TypeVar("T")

DRAFTS_TOGETHER = 1000  # of several submits that are one transaction, at most
SETTLED_TOGETHER = 500
LEAVE_SECONDS = 1.0  # for giving up the leases, when the store closes
LANE_IDLE = 3600.0  # seconds an empty lane is kept for its cool-down's sake


class PostgresStore(Blobs, Cargo):
    """`ports.Store`, `KeyStore`, `Roster`, `TimeKeeper`, `BlobStore`, `Portable` and `Joining` on a PostgreSQL server (13 or
    newer) that several machines share.

    `own_clock`: the server's time counts, whatever `now` the caller gives; without it the caller's is believed in
    everything, so that tests control it.

    Parts of the store that live beside this class run their statements by `await self._run(work)`, where
    `work(connection)` gets an asyncpg connection for itself: one statement is one transaction, several take
    `async with connection.transaction()`. `work` must come to the same when it is carried out twice (its answer may have
    been lost). The schema is `self._schema`.
    """

    def __init__(self, url: str, *, own_clock: bool = True) -> None:
        self._address = parse(url)
        self._schema = self._address.schema
        self._own_clock = own_clock
        self._clock = ServerClock()
        self._submit_sql = submit.statement(self._schema)
        self._settle_sql = settling.statement(self._schema)
        self._joins = Joins(self._schema, self._address.name)
        self._doubts = settling.Doubts()
        self._standpoints: dict[int, claims.Standpoint] = {}
        self._held: dict[str, set[int]] = {}  # bots, by holder
        self._submits: Batches[Submission, list[Accepted]] = Batches(self._submit, DRAFTS_TOGETHER)
        self._settles: Batches[settling.Call, list[bool]] = Batches(self._settle, SETTLED_TOGETHER)
        self._open: Engine | None = None

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def breaker(self) -> Breaker | None:
        """As health and metrics want it; None before `open`."""
        return self._open.breaker if self._open is not None else None

    @property
    def _engine(self) -> Engine:
        if self._open is None:
            raise not_open(self._address)
        return self._open

    def _check_open(self) -> None:
        if self._open is None:
            raise not_open(self._address)

    async def open(self) -> None:
        if self._open is None:
            self._open = await start(self._address, self._clock)
            self._joins.here = self._open.whereabouts

    async def close(self) -> None:
        if self._open is not None:
            await self._submits.finish()
            await self._settles.finish()
            await self._leave()
            await self._open.close()
            self._open = None
            self._standpoints.clear()
            self._held.clear()

    async def dump(self, section: Section, cursor: str | None = None, limit: int = 1000) -> Chunk:
        await self._engine.admit(self._now(0.0))
        return await super().dump(section, cursor, limit)

    async def _run(self, work: Work[T], *, limit: float | None = None) -> T:
        """Carry out `work(connection)`; goes on even if the caller is cancelled."""
        return await self._engine.run(work, limit=limit)

    def _now(self, now: float) -> float | None:
        """What to tell the server of the time: nothing, when its own counts."""
        return None if self._own_clock else now

    # ---------------------------------------------------------------- the way in

    async def submit(self, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        if not drafts:
            return []
        self._check_open()
        return await self._submits.run(Submission(drafts, self._now(now)), len(drafts), *touched(drafts))

    async def submit_within(self, connection: Any, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        self._check_open()
        return await self._joins.submit(connection, drafts, self._now(now))

    def submit_within_sync(self, connection: Any, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        self._check_open()
        return self._joins.submit_sync(connection, drafts, self._now(now))

    async def _submit(self, calls: Sequence[Submission]) -> list[list[Accepted]]:
        engine = self._engine
        drafts = [draft for call in calls for draft in call.drafts]
        sent = submit.unique(drafts)
        values = submit.arguments(sent, calls[-1].now)
        started = time.perf_counter()
        row = await engine.run(lambda db: db.fetchrow(self._submit_sql, *values))
        engine.wrote(time.perf_counter() - started)
        left = iter(submit.answers(drafts, sent, row))
        return [[next(left) for _ in call.drafts] for call in calls]

    # ---------------------------------------------------------------- leases and claims

    async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        engine, lasts = self._engine, until - now
        values = (self._now(now), holder, list(bots), lasts, engine.number(), claims.RECENT)
        asked_at = self._clock.ticks()
        row = await engine.row(claims.SQL["lease"], *values)
        self._clock.learn(row["clock"], asked_at, self._clock.ticks())
        if row["changed"]:
            engine.hints.tell(at_once=lasts <= 0)
        leases = claims.in_order(claims.leases(row["told"], holder), bots)
        if lasts > 0:
            self._held.setdefault(holder, set()).update(lease.bot for lease in leases)
        else:
            self._held.get(holder, set()).difference_update(bots)
        return leases

    async def _leave(self) -> None:
        """What this handle holds is given up, if the server can be told soon."""
        engine, sql = self._engine, self._engine.sql(claims.SQL["lease"])
        if engine.breaker.circuit is not Circuit.CLOSED:
            return
        for holder, bots in self._held.items():
            if bots:
                values = (self._now(0.0), holder, sorted(bots), 0.0, engine.number(), claims.RECENT)
                await engine.last_word(lambda db: db.fetchrow(sql, *values), LEAVE_SECONDS)  # noqa: B023 - awaited
                engine.hints.tell(at_once=True)

    async def attend(self, holder: str, bots: Sequence[int], until: float, now: float) -> Roll:
        engine, lasts = self._engine, until - now
        sql = "SELECT workers, holders, changed, clock FROM kurir.attend($1::float8, $2, $3::int8[], $4::float8)"
        asked_at = self._clock.ticks()
        row = await engine.row(sql, self._now(now), holder, list(bots), lasts)
        self._clock.learn(row["clock"], asked_at, self._clock.ticks())
        if row["changed"]:
            engine.hints.tell(at_once=lasts <= 0)
        workers = [Worker(who, float(until), tuple(its)) for who, until, its in orjson.loads(row["workers"] or "[]")]
        return Roll(tuple(workers), dict(orjson.loads(row["holders"] or "[]")))

    async def claim(self, lease: Lease, now: float, limit: int, low: int = 0) -> Claimed:
        point = self._standpoint(lease)
        entry = point.entry(self._engine.hints.joined)
        started = time.perf_counter()
        rows = await self._take("claim", lease, point, now, (limit, low), entry)
        took = time.perf_counter() - started
        if rows:
            point.learn(rows[0], self._clock.now(), entry, took)
        if len(rows) > 1:
            self._engine.commits.took(took)
        return claims.claimed(rows, lease)

    async def adopt(self, lease: Lease, limit: int, suspects: bool = False) -> list[Claim]:
        rows = await self._take("adopt", lease, self._standpoint(lease), 0.0, (limit, suspects), ())
        return [claims.claim(row, lease) for row in rows]

    async def _take(
        self,
        verb: str,
        lease: Lease,
        point: claims.Standpoint,
        now: float,
        wanted: tuple[Any, ...],
        entry: tuple[Any, ...],
    ) -> Sequence[Any]:
        """Put something in flight. What was taken though nobody heard of it comes with the next one."""
        engine = self._engine
        sql = engine.sql(claims.SQL[verb])

        async def work(pool: Pool, repeated: bool) -> Sequence[Any]:
            number = engine.number()  # each try its own: what one that is in doubt took is told once, by the next
            good_until = self._clock.now() + claims.GOOD_FOR if self._own_clock else None
            values = (
                self._now(now),
                lease.bot,
                lease.holder,
                lease.token,
                *wanted,
                number,
                point.doubtful(),
                good_until,
            )
            asked_at = time.monotonic()
            try:
                rows: Sequence[Any] = await pool.run(lambda db: db.fetch(sql, *values, *entry))
            except Away as away:
                if away.doubtful:
                    point.doubt(number)
                raise
            if verb == "claim" and rows:  # (no rows: the lease is lost, and with it the doubts)
                point.resolved(asked_at)
            return rows

        return await engine.insist(work)

    def _standpoint(self, lease: Lease) -> claims.Standpoint:
        point = self._standpoints.get(lease.bot)
        if point is None or point.token != lease.token:
            point = self._standpoints[lease.bot] = claims.Standpoint(lease.token, exact=not self._own_clock)
        return point

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[bool]:
        if not settlements:
            return []
        known = self._doubts.number_of(settlements)
        number = self._engine.number() if known is None else known
        call = settling.Call(settlements, self._now(now), number, known is not None)
        return await self._settles.run(call, len(settlements), frozenset(s.claim.lane for s in settlements))

    async def _settle(self, calls: Sequence[settling.Call]) -> list[list[bool]]:
        engine = self._engine
        started = time.perf_counter()

        async def work(pool: Pool, repeated: bool) -> Sequence[bool]:
            values = settling.arguments(calls, repeated=repeated)
            try:
                valid: Sequence[bool] = await pool.run(lambda db: db.fetchval(self._settle_sql, *values))
            except Away as away:
                if away.doubtful:
                    self._doubts.add(calls)
                raise
            return valid

        valid = await engine.insist(work)
        engine.wrote(time.perf_counter() - started)
        self._doubts.settled(calls)
        return settling.answers(calls, valid)

    # ---------------------------------------------------------------- for people

    async def find(self, query: Query) -> Page:
        q = self._engine.q
        return await self._read(query, lambda db: reads.find(db, self._schema, q, query))

    async def lanes(self, query: LaneQuery) -> LanePage:
        q = self._engine.q
        return await self._read(query, lambda db: reads.lanes(db, q, query))

    async def _read(self, query: Query | LaneQuery, work: Work[T]) -> T:
        await self._engine.admit(self._now(0.0))
        return await (self._engine.run(work) if is_short(query) else self._engine.search(work))

    async def alter(self, query: Query, change: Change, now: float) -> list[str]:
        states = _FINAL if isinstance(change, Purge) else _REVIVABLE if isinstance(change, Requeue) else _WAITING
        engine = self._engine
        found = await self._read(query, lambda db: reads.choose(db, self._schema, engine.q, query, states))
        if not found:
            return []
        at, number = self._now(now), engine.number()
        match change:
            case Cancel(reason) | Expire(reason):
                code = 4 if isinstance(change, Cancel) else 5
                sql = "SELECT kurir.end_some($1::float8, $2::int8[], $3::int2, $4, $5::int8)"
                row = await self._engine.row(sql, at, found, code, reason, number)
            case Requeue():
                row = await self._engine.row(
                    "SELECT kurir.requeue_some($1::float8, $2::int8[], $3::int8)", at, found, number
                )
            case Purge():
                sql = "SELECT kurir.purge_some($1::float8, $2::int8[], $3::float8, $4::int8)"
                row = await self._engine.row(sql, at, found, LANE_IDLE, number)
            case _:
                assert_never(change)
        engine.hints.tell()
        ids: list[str] = orjson.loads(row[0])
        return ids

    async def steer(
        self, bot: int, *, chat: str | None = None, until: float, reason: str | None = None, extend: bool = False
    ) -> None:
        await self._engine.row(
            "SELECT kurir.steer($1::int8, $2::text, $3::float8, $4::text, $5::bool)", bot, chat, until, reason, extend
        )
        self._engine.hints.tell()

    async def suppress(self, bot: int, chat: str, why: str | None, now: float) -> None:
        await self._engine.row(
            "SELECT kurir.suppress($1::float8, $2::int8, $3::text, $4::text)", self._now(now), bot, chat, why
        )
        self._engine.hints.tell()

    async def stats(self, bot: int | None = None, days: int = 31) -> Stats:
        engine = self._engine
        await engine.admit(self._now(0.0))
        found = await engine.run(lambda db: reads.stats(db, engine.q, bot, days))
        store = await engine.insist(lambda _, repeated: engine.standing.tell())
        return replace(found, store={**store, **engine.commits.figures()})

    async def prune(self, before: float, now: float, limit: int = 1000, lift_before: float = 0.0) -> Pruned:
        sql = "SELECT kurir.prune($1::float8, $2::float8, $3::int4, $4::float8, $5::float8, $6::float8, $7::int8)"
        row = await self._engine.row(
            sql, self._now(now), before, limit, lift_before, KEY_LIFE, LANE_IDLE, self._engine.number()
        )
        messages, lanes, files = orjson.loads(row[0])
        return Pruned(messages, lanes, tuple(sorted(files)))

    # ---------------------------------------------------------------- watch, keys

    async def watch(self, timeout: float) -> None:
        await self._engine.hints.watch(timeout)

    async def add_key(self, key: ApiKey) -> None:
        if not await self._engine.insist(lambda pool, repeated: keys.add(pool, self._engine.q, key, repeated)):
            raise StoreError(f"an API key {key.id}, or one with its secret, exists already", "Make another one.")
        self._engine.hints.tell()

    async def keys(self) -> list[ApiKey]:
        q = self._engine.q
        return [ApiKey(*row) for row in await self._run(lambda db: db.fetch(q["api_keys"]))]

    async def revoke_key(self, id: str, now: float) -> bool:
        revoked = await self._engine.insist(lambda pool, repeated: keys.revoke(pool, self._engine.q, id, now, repeated))
        self._engine.hints.tell()
        return revoked


_WAITING = (State.WAITING,)
_FINAL = (State.DELIVERED, State.DEAD, State.CANCELLED, State.EXPIRED)
_REVIVABLE = (State.DEAD, State.CANCELLED, State.EXPIRED)
