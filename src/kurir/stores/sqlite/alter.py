"""The verbs for people and housekeeping: `alter`, `steer`, `suppress`, `prune`."""

from __future__ import annotations

from typing import assert_never

import orjson

from kurir.core.message import State
from kurir.ports import KEY_LIFE, Cancel, Change, Expire, Pruned, Purge, Query, Requeue
from kurir.stores.codec import load_files

from . import lanes
from .reads import order_of, where
from .transaction import Code, Q, Transaction

_WAITING = (State.WAITING,)
_FINAL = (State.DELIVERED, State.DEAD, State.CANCELLED, State.EXPIRED)
_REVIVABLE = (State.DEAD, State.CANCELLED, State.EXPIRED)
LANE_IDLE = 3600.0  # seconds an empty lane is kept for its cool-down's sake


def alter(tx: Transaction, query: Query, change: Change, now: float) -> list[str]:
    """See `ports.Store.alter`."""
    match change:
        case Cancel(reason):
            return _end(tx, query, Code.CANCELLED, reason, now)
        case Expire(reason):
            return _end(tx, query, Code.EXPIRED, reason, now)
        case Requeue():
            return _requeue(tx, query, now)
        case Purge():
            return _purge(tx, query, now)
        case _:
            assert_never(change)


_Row = tuple[int, str, int, str, int, int]  # seq, id, bot, chat, state, lane


def _select(tx: Transaction, query: Query, allowed: tuple[State, ...]) -> list[_Row]:
    states = tuple(s for s in (query.states or allowed) if s in allowed)
    if not states:
        return []
    condition, values = where(tx.db, query, states)
    sql = (  # `where` binds every value
        "SELECT m.seq, m.id, m.bot, l.chat, m.state, m.lane FROM message m JOIN lane l ON l.id = m.lane "
        f"WHERE {condition} ORDER BY {order_of(query)} LIMIT {int(query.limit)}"
    )
    return tx.db.execute(sql, values).fetchall()


def _end(tx: Transaction, query: Query, code: Code, reason: str, now: float) -> list[str]:
    rows = _select(tx, query, _WAITING)
    touched: dict[tuple[int, int], int] = {}
    for seq, _, bot, _, _, lane in rows:
        tx.db.execute(Q["end_message"], (int(code), reason, now, seq))
        tx.ended(bot, code, now)
        touched[bot, lane] = touched.get((bot, lane), 0) + 1
    for (bot, lane), n in touched.items():
        lanes.count(tx, bot, lane, -n)
        lanes.refresh(tx, lane, now)
    return [row[1] for row in rows]


def _requeue(tx: Transaction, query: Query, now: float) -> list[str]:
    rows = _select(tx, query, _REVIVABLE)
    for seq, _, bot, chat, state, _ in rows:
        lane = lanes.find_or_add_lane(tx, bot, chat)
        tx.db.execute(Q["lift_suppression"], (lane,))
        tx.db.execute(Q["requeue_message"], {"pos": tx.next_seq(), "lane": lane, "seq": seq, "now": now})
        tx.revived(bot, Code(state))
        lanes.count(tx, bot, lane, 1)
        lanes.refresh(tx, lane, now)
    return [row[1] for row in rows]


def _purge(tx: Transaction, query: Query, now: float) -> list[str]:
    rows = _select(tx, query, _FINAL)
    for seq, _, bot, _, state, lane in rows:
        files, metadata = tx.db.execute("SELECT files, metadata FROM message WHERE seq = ?", (seq,)).fetchone()
        _remove(tx, seq, files, metadata)
        tx.revived(bot, Code(state))
        tx.db.execute(Q["prune_lane"], {"lane": lane, "idle": now - LANE_IDLE})
    return [row[1] for row in rows]


def _remove(tx: Transaction, seq: int, files: str | None, metadata: str | None) -> list[str]:
    """Delete a message and what belongs to it; answers the files that nobody refers to any more."""
    tx.db.execute(Q["purge_message"], (seq,))
    tx.db.execute(Q["purge_attempts"], (seq,))
    if metadata:
        for key, value in orjson.loads(metadata).items():
            tx.db.execute(Q["purge_metadata"], (key, value, seq))
    orphans = []
    for file in load_files(files):
        gone = tx.db.execute(Q["purge_message_file"], (file.sha256, seq)).rowcount
        if gone and not tx.db.execute(Q["file_is_used"], (file.sha256,)).fetchone():
            orphans.append(file.sha256)
    return orphans


def prune(tx: Transaction, before: float, now: float, limit: int, lift_before: float) -> Pruned:
    """See `ports.Store.prune`."""
    tx.db.execute(Q["lift_old_suppressions"], (lift_before,))
    rows = tx.db.execute(Q["prunable"], (before, now - KEY_LIFE, limit)).fetchall()
    orphans: list[str] = []
    for seq, _, bot, state, files, metadata in rows:
        orphans += _remove(tx, seq, files, metadata)
        tx.revived(bot, Code(state))
    removed = 0
    for lane in dict.fromkeys(row[1] for row in rows):
        removed += tx.db.execute(Q["prune_lane"], {"lane": lane, "idle": now - LANE_IDLE}).rowcount
    tx.db.executemany(Q["forget_file_ids"], [(sha256,) for sha256 in orphans])
    return Pruned(len(rows), removed, tuple(sorted(orphans)))


def steer(tx: Transaction, bot: int, chat: str | None, until: float, reason: str | None, extend: bool) -> None:
    """See `ports.Store.steer`."""
    if chat is None:
        tx.db.execute(Q["add_bot"], (bot,))
        tx.db.execute(Q["pause_bot"], {"until": until, "reason": reason, "bot": bot, "extend": int(extend)})
    else:
        lane = lanes.find_or_add_lane(tx, bot, chat)
        tx.db.execute(Q["pause_chat"], {"until": until, "reason": reason, "lane": lane})


def suppress(tx: Transaction, bot: int, chat: str, why: str | None, now: float) -> None:
    """See `ports.Store.suppress`."""
    lane = lanes.find_or_add_lane(tx, bot, chat)
    if why is None:
        tx.db.execute(Q["lift_suppression"], (lane,))
    else:
        lanes.suppress(tx, bot, lane, why, now)
