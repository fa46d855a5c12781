"""Reading: `find`, `lanes` and `stats`."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from typing import Any

from kurir.core.errors import InvalidMessage
from kurir.core.message import Attempt, Priority, Record, State
from kurir.ports import BotStats, Day, Lane, LanePage, LaneQuery, Page, Query, Stats
from kurir.stores.codec import load_files, load_metadata, load_options

from .transaction import CODE_OF, STATE_OF, Code, Q

MAX_LIMIT = 1000
FEW = 20_000  # messages: while no more wait, the lanes they wait in are found through them, and else by looking at each


def where(db: sqlite3.Connection, query: Query, states: tuple[State, ...]) -> tuple[str, list[Any]]:
    """The query as an SQL condition over `message m` and `lane l`, and its values."""
    terms: list[str] = ["1"]
    values: list[Any] = []

    def term(sql: str, *bound: object) -> None:
        terms.append(sql)
        values.extend(bound)

    if query.ids:
        term(f"m.id IN ({','.join('?' * len(query.ids))})", *query.ids)
    if query.seqs:
        term(f"m.seq IN ({','.join('?' * len(query.seqs))})", *query.seqs)
    if states:
        _states(states, term, of_those_that_expire=query.expired_by is not None)
    if query.bot is not None:
        term("m.bot = ?", query.bot)
    if query.chat is not None:
        ids = _lane_ids(db, query)
        term(f"m.lane IN ({','.join('?' * len(ids))})" if ids else "0", *ids)
    for sql, value in (
        ("m.method = ?", query.method),
        ("m.prio = ?", query.priority),
        ("m.accepted_at >= ?", query.since),
        ("m.accepted_at < ?", query.until),
        ("m.expires_at <= ?", query.expired_by),
        ("m.key = ?", query.key),
    ):
        if value is not None:
            term(sql, value)
    for key, value in query.metadata:
        term("m.seq IN (SELECT seq FROM metadata WHERE key = ? AND value = ?)", key, value)
    if query.file is not None:
        term("m.seq IN (SELECT seq FROM message_file WHERE sha256 = ?)", query.file)
    if query.reason is not None:
        term("substr(coalesce(m.reason, ''), 1, ?) = ?", len(query.reason), query.reason)
    if query.cursor is not None:
        term("m.seq > ?" if query.oldest_first else "m.seq < ?", _position(query.cursor))
    return " AND ".join(terms), values


def _states(states: tuple[State, ...], term: Callable[..., None], *, of_those_that_expire: bool) -> None:
    """Waiting and sending are one code in the table: in flight is the head of a lane with a token."""
    codes = [int(CODE_OF[s]) for s in states if s in CODE_OF]
    waiting, sending = State.WAITING in states, State.SENDING in states
    if waiting and sending:
        codes += [Code.READY, Code.LATER]
    terms = [f"m.state IN ({','.join(str(int(c)) for c in codes)})"] if codes else []
    if Code.DELIVERED not in codes and codes:
        terms = [f"(m.state <> 2 AND {terms[0]})"]  # lets the index `message_state` serve
    in_flight = "l.token IS NOT NULL AND l.head = m.seq"
    if waiting != sending:
        unended = (
            "m.state < 2" if of_those_that_expire else "m.state <> 2 AND m.state IN (0, 1)"
        )  # as the indexes have it
        terms.append(f"({unended} AND {'NOT (' + in_flight + ')' if waiting else in_flight})")
    term(f"({' OR '.join(terms)})")


def order_of(query: Query) -> str:
    """(+: what has expired is found through its index, and sorted then; else the table is walked in its order.)"""
    return "m.seq" if query.expired_by is None else "+m.seq"


def _lane_ids(db: sqlite3.Connection, query: Query) -> list[int]:
    """The ids of the lanes a chat's name stands for, aliases followed, in any bot unless one is given."""
    found: list[int] = []
    names = [(query.bot, query.chat)]
    for bot, chat in names:
        for id, owner, moved_to in db.execute(Q["lanes_by_chat"], {"bot": bot, "chat": chat}).fetchall():
            found.append(id)
            if moved_to is not None:
                names.append((owner, moved_to))
    return found


def _position(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidMessage("cursor", "is not one of ours", "Pass on the `next` of the page before.")
    return int(cursor)


def find(db: sqlite3.Connection, query: Query) -> Page:
    """See `ports.Store.find`."""
    limit = max(0, min(query.limit, MAX_LIMIT))
    condition, values = where(db, query, query.states)
    order = "ASC" if query.oldest_first else "DESC"
    sql = f"{Q['records']} WHERE {condition} ORDER BY {order_of(query)} {order} LIMIT {limit + 1}"
    rows = db.execute(sql, values).fetchall()
    records = tuple(_record(db, row, query.with_attempts) for row in rows[:limit])
    return Page(records, str(records[-1].seq) if records and len(rows) > limit else None)


def _record(db: sqlite3.Connection, row: tuple[Any, ...], with_attempts: bool) -> Record:
    seq, id, bot, chat, method, params, state, in_flight, prio, accepted_at, due_at, ended_at = row[:12]
    expires_at, reason, key, metadata, files, options, tries, doubts, crashes, superseded_by, result = row[12:]
    return Record(
        id=id,
        seq=seq,
        bot=bot,
        chat=chat,
        method=method,
        params=params,
        state=State.SENDING if in_flight and state < 2 else STATE_OF[state],
        priority=Priority(prio),
        accepted_at=accepted_at,
        due_at=due_at,
        ended_at=ended_at,
        expires_at=expires_at,
        reason=reason,
        result=result,
        key=key,
        metadata=load_metadata(metadata),
        files=load_files(files),
        options=load_options(options),
        tries=tries,
        doubts=doubts,
        crashes=crashes,
        superseded_by=superseded_by,
        attempts=tuple(Attempt(*a) for a in db.execute(Q["attempts"], (seq,))) if with_attempts else (),
    )


def lanes(db: sqlite3.Connection, query: LaneQuery) -> LanePage:
    """See `ports.Store.lanes`."""
    limit = max(0, min(query.limit, MAX_LIMIT))
    named = query.chat is not None
    order, index = ("l.bot", "") if named else ("l.id", "INDEXED BY lane_suppressed_by_id" if query.suppressed else "")
    values = {"bot": query.bot, "chat": query.chat, "after": -1 if query.cursor is None else _position(query.cursor)}
    terms = [f"{order} > :after"]
    if named:
        ids = [row[0] for row in db.execute(Q["lanes_by_chat"], values)]
        terms.append(f"l.id IN ({','.join(map(str, ids))})")
    elif query.bot is not None:
        terms.append("+l.bot = :bot")  # (+: in the order of the table, which needs no sorting)
    if not named or query.suppressed:
        terms.append("l.moved_to IS NULL")
    if query.suppressed:
        terms.append("l.suppressed IS NOT NULL")
    if query.waiting:
        terms.append("l.waiting > 0")
        if not named and not query.suppressed and db.execute(Q["all_waiting"], values).fetchone()[0] <= FEW:
            terms.append(f"l.id IN ({Q['lanes_that_wait']})")
    sql = f"{Q['lanes']} {index} WHERE {' AND '.join(terms)} ORDER BY {order} LIMIT {limit + 1}"
    rows = db.execute(sql, values).fetchall()
    shown = rows[:limit]
    items = tuple(_lane(db, *row[1:]) for row in shown)
    return LanePage(items, str(shown[-1][1 if named else 0]) if shown and len(rows) > limit else None)


def _lane(
    db: sqlite3.Connection,
    bot: int,
    chat: str,
    waiting: int,
    in_flight: int,
    next_at: float | None,
    chat_at: float,
    head: str | None,
    suppressed: str | None,
    suppressed_at: float | None,
    moved_to: str | None,
    chat_why: str | None,
) -> Lane:
    if moved_to is None:
        return Lane(
            bot, chat, waiting, bool(in_flight), next_at, chat_at, head, suppressed, suppressed_at, chat_why=chat_why
        )
    while row := db.execute(Q["lane_by_chat"], (bot, moved_to)).fetchone():
        if row[4] is None:
            break
        moved_to = row[4]
    return Lane(bot, chat, moved_to=moved_to)


def stats(db: sqlite3.Connection, bot: int | None, most_days: int) -> Stats:
    """See `ports.Store.stats`."""
    bots = []
    for row in db.execute(Q["bots"], {"bot": bot}).fetchall():
        id, holder, lease_until, paused_until, why, *counts = row
        waiting, sending, delivered, dead, cancelled, expired, lanes, fenced = (n or 0 for n in counts)
        oldest = [db.execute(Q["oldest_ready"], (id, p)).fetchone()[0] for p in Priority]
        ready = [at for at in oldest if at is not None and not math.isinf(at)]
        bots.append(
            BotStats(
                id,
                waiting,
                sending,
                delivered,
                dead,
                cancelled,
                expired,
                lanes,
                min(ready, default=None),
                fenced,
                holder,
                lease_until or None,
                paused_until,
                why,
            )
        )
    days = tuple(Day(*row) for row in db.execute(Q["days"], {"bot": bot, "days": most_days}))
    return Stats(tuple(bots), days, _engine(db))


def _engine(db: sqlite3.Connection) -> dict[str, Any]:
    pages, free, size, schema = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size", "user_version")
    )
    return {
        "engine": f"SQLite {sqlite3.sqlite_version}",
        "schema": schema,
        "bytes": pages * size,
        "free_bytes": free * size,
    }
