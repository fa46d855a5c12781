"""Reading: `find`, `lanes` and `stats`, and which messages an `alter` is about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kurir.core.errors import InvalidMessage
from kurir.core.message import Attempt, Priority, Record, State
from kurir.ports import BotStats, Day, Lane, LanePage, LaneQuery, Page, Query, Stats
from kurir.stores.codec import load_files, load_metadata, load_options

from .states import CODE_OF, STATE_OF

MAX_LIMIT = 1000
Q = Mapping[str, str]  # statements by name, for one schema

_IN_FLIGHT = "l.token IS NOT NULL AND l.head = m.seq"


class Condition:
    """A query as an SQL condition over `message m` (or `ended m`) and `lane l`; every value is bound."""

    def __init__(self, schema: str, query: Query, lanes: Sequence[int] | None) -> None:
        self.values: list[Any] = []
        self._schema = f'"{schema}"'
        self._terms = ["true"]
        self._build(query, lanes)

    def term(self, sql: str, *values: object) -> None:
        """Add a condition; `{}` stand for the values."""
        first = len(self.values) + 1
        self.values += values
        self._terms.append(sql.format(*(f"${first + n}" for n in range(len(values)))))

    def _build(self, query: Query, lanes: Sequence[int] | None) -> None:
        if query.ids:
            self.term("m.id = ANY ({}::text[])", list(query.ids))
        if query.seqs:
            self.term("m.seq = ANY ({}::int8[])", list(query.seqs))
        if lanes is not None:
            self.term("m.lane = ANY ({}::int8[])", list(lanes))
        for sql, value in (
            ("m.bot = {}::int8", query.bot),
            ("m.method = {}::text", query.method),
            ("m.prio = {}::int2", None if query.priority is None else int(query.priority)),
            ("m.accepted_at >= {}::float8", query.since),
            ("m.accepted_at < {}::float8", query.until),
            ("m.expires_at <= {}::float8", query.expired_by),
            ("starts_with(coalesce(m.reason, ''), {}::text)", query.reason),
        ):
            if value is not None:
                self.term(sql, value)
        if query.key is not None:
            bots = f"SELECT id FROM {self._schema}.bot"
            self.term(
                f"m.id IN (SELECT k.id FROM {self._schema}.key k WHERE k.bot IN ({bots}) AND k.key = {{}})", query.key
            )
        for key, value in query.metadata:
            given = f"SELECT d.seq FROM {self._schema}.metadata d WHERE d.key = {{}} AND d.value = {{}}"
            self.term(f"m.seq IN ({given} AND md5(d.value) = md5({{}}))", key, value, value)
        if query.file is not None:
            self.term(f"m.seq IN (SELECT f.seq FROM {self._schema}.message_file f WHERE f.sha256 = {{}})", query.file)
        if query.cursor is not None:
            self.term("m.seq > {}::int8" if query.oldest_first else "m.seq < {}::int8", position(query.cursor))

    def waiting(self, states: Sequence[State]) -> str | None:
        """The condition on `message`; None if those states are not there."""
        waiting, sending = State.WAITING in states, State.SENDING in states
        if not states or (waiting and sending):
            return self._and()
        if waiting or sending:
            return self._and(f"NOT ({_IN_FLIGHT})" if waiting else _IN_FLIGHT)
        return None

    def ended(self, states: Sequence[State]) -> str | None:
        """The condition on `ended`; None if those states are not there."""
        if not states:
            return self._and()
        codes = [CODE_OF[s] for s in states if s.final]
        if not codes:
            return None
        most = "" if CODE_OF[State.DELIVERED] in codes else " AND m.state <> 2"  # lets the index `ended_badly` serve
        return self._and(f"m.state IN ({','.join(map(str, codes))}){most}")

    def _and(self, *more: str) -> str:
        return " AND ".join((*self._terms, *more))


def order_of(query: Query) -> str:
    """(+ 0: what has expired is found through its index, and sorted then; else the table is walked in its order.)"""
    return "m.seq" if query.expired_by is None else "m.seq + 0"


async def lanes_of(connection: Any, q: Q, query: Query) -> list[int] | None:
    """The lanes that the query's chat stands for, in any bot unless one is given; None if it names no chat."""
    if query.chat is None:
        return None
    rows = await connection.fetch(q["lanes_by_chat"], query.chat, query.bot)
    return [row["lane"] for row in rows if row["lane"] is not None]


def position(cursor: str) -> int:
    """The number in a cursor. Raises InvalidMessage."""
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidMessage("cursor", "is not one of ours", "Pass on the `next` of the page before.")
    return int(cursor)


async def find(connection: Any, schema: str, q: Q, query: Query) -> Page:
    """See `ports.Store.find`."""
    limit = max(0, min(query.limit, MAX_LIMIT))
    condition = Condition(schema, query, await lanes_of(connection, q, query))
    direction = "ASC" if query.oldest_first else "DESC"
    parts = [
        f"({q[name]} WHERE {where} ORDER BY {order_of(query)} {direction} LIMIT {limit + 1})"
        for name, where in (
            ("waiting_records", condition.waiting(query.states)),
            ("ended_records", condition.ended(query.states)),
        )
        if where is not None
    ]
    sql = f"SELECT * FROM ({' UNION ALL '.join(parts)}) r ORDER BY seq {direction} LIMIT {limit + 1}"
    rows = await connection.fetch(sql, *condition.values)
    records = tuple(_record(row, query.with_attempts) for row in rows[:limit])
    return Page(records, str(records[-1].seq) if records and len(rows) > limit else None)


async def choose(connection: Any, schema: str, q: Q, query: Query, states: Sequence[State]) -> list[int]:
    """Order numbers of the first messages in these states, all of which wait or all of which ended, that match."""
    states = [s for s in (query.states or states) if s in states]
    if not states:
        return []
    condition = Condition(schema, query, await lanes_of(connection, q, query))
    table, where = "ended", condition.ended(states)
    if where is None:
        table, where = "message", condition.waiting(states)
    sql = (  # every value is bound
        f'SELECT m.seq FROM "{schema}".{table} m JOIN "{schema}".lane l ON l.id = m.lane '
        f"WHERE {where} ORDER BY {order_of(query)} LIMIT {max(0, min(query.limit, MAX_LIMIT))}"
    )
    return [row[0] for row in await connection.fetch(sql, *condition.values)]


def _record(row: Any, with_attempts: bool) -> Record:
    tried = orjson.loads(f"[{row['tried'] or ''}]") if with_attempts else ()
    return Record(
        id=row["id"],
        seq=row["seq"],
        bot=row["bot"],
        chat=row["chat"],
        method=row["method"],
        params=row["params"].encode(),
        state=STATE_OF[row["state"]],
        priority=Priority(row["prio"]),
        accepted_at=row["accepted_at"],
        due_at=row["due_at"],
        ended_at=row["ended_at"],
        expires_at=row["expires_at"],
        reason=row["reason"],
        result=row["result"].encode() if row["result"] is not None else None,
        key=row["key"],
        metadata=load_metadata(row["metadata"]),
        files=load_files(row["files"]),
        options=load_options(row["options"]),
        tries=row["tries"],
        doubts=row["doubts"],
        crashes=row["crashes"],
        superseded_by=row["superseded_by"],
        attempts=tuple(Attempt(*attempt) for attempt in tried),
    )


async def lanes(connection: Any, q: Q, query: LaneQuery) -> LanePage:
    """See `ports.Store.lanes`."""
    limit = max(0, min(query.limit, MAX_LIMIT))
    after = -1 if query.cursor is None else position(query.cursor)
    if query.chat is not None:
        return await _lanes_named(connection, q, query, after, limit)
    terms, values = ["l.id > $1"], [after]
    if query.bot is not None:
        values.append(query.bot)
        terms.append("l.bot + 0 = $2")  # (+ 0: in the order of the table, which needs no sorting)
    if query.suppressed:
        terms.append("l.suppressed IS NOT NULL")
    if query.waiting:
        terms.append("l.waiting > 0")
        if not query.suppressed:
            terms.append(f"l.id IN ({q['lanes_that_wait']})")
    sql = f"{q['lanes']} WHERE {' AND '.join(terms)} ORDER BY l.id LIMIT {limit + 1}"
    rows = await connection.fetch(sql, *values)
    items = tuple(_lane(row) for row in rows[:limit])
    return LanePage(items, str(rows[limit - 1]["id"]) if items and len(rows) > limit else None)


async def _lanes_named(connection: Any, q: Q, query: LaneQuery, after: int, limit: int) -> LanePage:
    """In the order of the bots. A former name answers where the chat is now."""
    named = await connection.fetch(q["lanes_by_chat"], query.chat, query.bot)
    ids = [row["lane"] for row in named if row["moved_to"] is None]
    there = {
        row["bot"]: _lane(row) for row in await connection.fetch(f"{q['lanes']} WHERE l.id = ANY ($1::int8[])", ids)
    }
    found = []
    for row in sorted(named, key=lambda row: row["bot"]):
        bot, moved_to = row["bot"], row["moved_to"]
        lane = there.get(bot) if moved_to is None else Lane(bot, query.chat or "", moved_to=moved_to)
        if lane is None or bot <= after or (query.waiting and not lane.waiting):
            continue
        if not query.suppressed or lane.suppressed is not None:
            found.append(lane)
    items = tuple(found[:limit])
    return LanePage(items, str(items[-1].bot) if items and len(found) > limit else None)


def _lane(row: Any) -> Lane:
    return Lane(
        row["bot"],
        row["chat"],
        row["waiting"],
        row["sending"],
        row["next_at"],
        row["chat_at"],
        row["head"],
        row["suppressed"],
        row["suppressed_at"],
        chat_why=row["chat_why"],
    )


async def stats(connection: Any, q: Q, bot: int | None, most_days: int) -> Stats:
    """See `ports.Store.stats`; without what the store tells of itself."""
    bots = tuple(_bot(row) for row in await connection.fetch(q["bots"], bot))
    days = tuple(Day(*row) for row in await connection.fetch(q["days"], bot, most_days))
    return Stats(bots, days)


def _bot(row: Any) -> BotStats:
    oldest = row["oldest_due"]
    return BotStats(
        row["bot"],
        row["waiting"],
        row["sending"],
        row["delivered"],
        row["dead"],
        row["cancelled"],
        row["expired"],
        row["lanes"],
        None if oldest is None or math.isinf(oldest) else oldest,
        row["fenced"],
        row["holder"],
        row["lease_until"] or None,
        row["paused_until"] or 0.0,
        row["paused_why"],
    )
