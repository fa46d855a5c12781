"""All that the SQLite store holds, as rows: `ports.Portable`."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, cast

import orjson

from kurir.core.message import Attempt, Priority, State
from kurir.core.rows import AliasRow, BotRow, FileIdRow, LaneRow, MessageRow, Section, SequenceRow
from kurir.ports import ApiKey, Chunk, Day, Row
from kurir.stores.codec import (
    dump_files,
    dump_metadata,
    dump_options,
    dump_pos,
    load_files,
    load_metadata,
    load_options,
    load_pos,
)
from kurir.stores.named import statements

from . import lanes
from .transaction import CODE_OF, STATE_OF, Code, Q, Transaction

D = statements(__package__, "dump.sql")
FIRST = -(2**63)  # before every number


# ---------------------------------------------------------------- out


def dump(db: sqlite3.Connection, section: Section, cursor: str | None, limit: int) -> Chunk:
    """See `ports.Portable.dump`."""
    match section:
        case Section.SEQUENCE:
            last = db.execute(Q["last_seq"]).fetchone()[0]
            return Chunk((SequenceRow(last),) if last else ())
        case Section.MESSAGES:
            return _dump_messages(db, cursor, limit)
        case Section.FILE_IDS:
            after = orjson.loads(cursor) if cursor else (FIRST, "", "")
            found = db.execute(D["dump_file_ids"], (*after, limit)).fetchall()
            return _chunk([FileIdRow(*row) for row in found], [row[:3] for row in found], limit)
        case Section.DAYS:
            after = orjson.loads(cursor) if cursor else (FIRST, "")
            found = db.execute(D["dump_days"], (*after, limit)).fetchall()
            return _chunk([Day(*row) for row in found], [row[:2] for row in found], limit)
        case Section.BOTS:
            found = db.execute(D["dump_bots"], (_number(cursor), limit)).fetchall()
            return _chunk([BotRow(*row) for row in found], [row[0] for row in found], limit)
    make = cast(
        "Callable[..., Row]", {Section.LANES: LaneRow, Section.ALIASES: AliasRow, Section.KEYS: ApiKey}[section]
    )
    found = db.execute(D[f"dump_{section}"], (_number(cursor), limit)).fetchall()
    return _chunk([make(*row[1:]) for row in found], [row[0] for row in found], limit)


def _number(cursor: str | None) -> int:
    return FIRST if cursor is None else int(cursor)


def _chunk(rows: Sequence[Row], keys: Sequence[Any], limit: int) -> Chunk:
    return Chunk(tuple(rows), orjson.dumps(keys[-1]).decode() if len(rows) == limit else None)


def _dump_messages(db: sqlite3.Connection, cursor: str | None, limit: int) -> Chunk:
    found = db.execute(D["dump_messages"], (_number(cursor), limit)).fetchall()
    attempts: dict[int, list[Attempt]] = {}
    results: dict[int, bytes] = {}
    if found:
        for seq, *attempt, result in db.execute(D["dump_attempts"], (found[0][0], found[-1][0])):
            attempts.setdefault(seq, []).append(Attempt(*attempt))
            if result is not None:
                results[seq] = result
    rows = [_message_row(row, results.get(row[0]), tuple(attempts.get(row[0], ()))) for row in found]
    return _chunk(rows, [row[0] for row in found], limit)


def _message_row(row: tuple[Any, ...], result: bytes | None, attempts: tuple[Attempt, ...]) -> MessageRow:
    seq, id, bot, chat, method, params, state, prio, pos, accepted_at, token, due_at, ended_at, expires_at = row[:14]
    asked_at, requeued_at, reason, key, digest, target, files, metadata, options = row[14:23]
    tries, doubts, crashes, superseded_by = row[23:]
    return MessageRow(
        seq=seq,
        id=id,
        bot=bot,
        chat=chat,
        method=method,
        params=params,
        state=STATE_OF[state],
        priority=Priority(prio),
        pos=load_pos(pos),
        accepted_at=accepted_at,
        token=token,
        later=state == Code.LATER,
        due_at=due_at,
        ended_at=ended_at,
        expires_at=expires_at,
        asked_at=asked_at,
        requeued_at=requeued_at,
        reason=reason,
        result=result,
        key=key,
        digest=digest,
        target=target,
        files=load_files(files),
        metadata=load_metadata(metadata),
        options=load_options(options),
        tries=tries,
        doubts=doubts,
        crashes=crashes,
        superseded_by=superseded_by,
        attempts=attempts,
    )


def marked(db: sqlite3.Connection) -> str | None:
    """See `ports.Portable.marked`."""
    row = db.execute(D["mark"]).fetchone()
    return row[0] if row else None


# ---------------------------------------------------------------- in


def load(tx: Transaction, section: Section, rows: Sequence[Row]) -> None:
    """See `ports.Portable.load`."""
    _LOADERS[section](tx, rows)


def mark(tx: Transaction, mark: str | None) -> None:
    """See `ports.Portable.mark`."""
    tx.db.execute(D["forget_mark"])
    if mark is not None:
        tx.db.execute(D["set_mark"], (mark,))


def _load_sequence(tx: Transaction, rows: Sequence[SequenceRow]) -> None:
    for row in rows:
        tx.reach_seq(row.last)


def _load_bots(tx: Transaction, rows: Sequence[BotRow]) -> None:
    tx.db.executemany(D["load_bot"], [(r.bot, r.token, r.paused_until, r.paused_why) for r in rows])
    tx.db.executemany(D["load_fenced"], [(r.bot, r.fenced) for r in rows])


def _load_lanes(tx: Transaction, rows: Sequence[LaneRow]) -> None:
    values = [(r.bot, r.chat, r.chat_at, r.chat_why, r.head_at, r.suppressed, r.suppressed_at) for r in rows]
    tx.db.executemany(D["load_lane"], values)


def _load_aliases(tx: Transaction, rows: Sequence[AliasRow]) -> None:
    """A chat that was loaded under its old name before it moved goes with it."""
    for row in rows:
        lane = lanes.find_lane(tx, row.bot, row.chat)
        if lane is not None and lane.chat == row.chat:
            if lane.in_flight:
                tx.db.execute(D["land"], (lane.id,))
                tx.sending(row.bot, -1)
            lanes.move(tx, row.bot, lane.id, row.chat, row.moved_to, 0.0)
        else:
            tx.db.execute(D["load_alias"], (row.bot, row.chat, row.moved_to))


def _load_file_ids(tx: Transaction, rows: Sequence[FileIdRow]) -> None:
    tx.db.executemany(D["load_file_id"], [(r.bot, r.sha256, r.kind, r.file_id) for r in rows])


def _load_days(tx: Transaction, rows: Sequence[Day]) -> None:
    tx.db.executemany(D["load_day"], [(r.bot, r.day, r.delivered, r.dead, r.cancelled, r.expired) for r in rows])


def _load_keys(tx: Transaction, rows: Sequence[ApiKey]) -> None:
    values = [(r.id, r.name, r.role, r.digest, r.created_at, r.revoked_at) for r in rows]
    tx.db.executemany(D["load_key"], values)


def _load_messages(tx: Transaction, rows: Sequence[MessageRow]) -> None:
    """Whole messages; their lanes count them and look for their heads again."""
    waiting: dict[tuple[int, int], int] = {}  # (bot, lane): how many more wait
    headed: dict[int, float] = {}  # lanes whose head may have changed: since when a new one has its turn
    _withdraw(tx, rows, waiting, headed)
    ids: dict[tuple[int, str], int] = {}
    for row in rows:
        if (row.bot, row.chat) not in ids:
            ids[row.bot, row.chat] = lanes.find_or_add_lane(tx, row.bot, row.chat)
    flights = []
    for row in rows:
        lane = ids[row.bot, row.chat]
        if row.state.final:
            tx.revived(row.bot, CODE_OF[row.state], -1)
            continue
        waiting[row.bot, lane] = waiting.get((row.bot, lane), 0) + 1
        if row.token is not None:
            flights.append((row.seq, int(row.priority), row.token, lane))
            tx.sending(row.bot, 1)
        elif not row.later:
            headed.setdefault(lane, row.accepted_at)
    tx.db.executemany(D["load_message"], [_values(row, ids[row.bot, row.chat]) for row in rows])
    _load_parts(tx, rows)
    tx.db.executemany(D["load_flight"], flights)
    for (bot, lane), n in waiting.items():
        lanes.count(tx, bot, lane, n)
    tx.db.executemany(D["head_loaded_lane"], [{"lane": lane, "since": since} for lane, since in headed.items()])
    tx.reach_seq(max((max(row.seq, math.ceil(row.pos)) for row in rows), default=0))


def _values(row: MessageRow, lane: int) -> tuple[object, ...]:
    waits = Code.LATER if row.later else Code.READY
    return (
        row.seq,
        row.id,
        row.bot,
        lane,
        row.method,
        row.params.decode(),
        int(waits if row.state is State.WAITING else CODE_OF[row.state]),
        int(row.priority),
        dump_pos(row.pos),
        row.accepted_at,
        row.due_at,
        row.ended_at,
        row.expires_at,
        row.asked_at,
        row.requeued_at,
        row.reason,
        row.key,
        row.digest,
        row.target,
        dump_files(row.files),
        dump_metadata(row.metadata),
        dump_options(row.options),
        row.tries,
        len(row.attempts),
        row.doubts,
        row.crashes,
        row.superseded_by,
    )


def _load_parts(tx: Transaction, rows: Sequence[MessageRow]) -> None:
    """Attempts, metadata and files."""
    attempts: list[tuple[object, ...]] = []
    for row in rows:
        last = len(row.attempts) - 1
        for place, a in enumerate(row.attempts):
            result = row.result.decode() if row.result is not None and place == last else None
            attempts.append((row.seq, a.number, a.started_at, a.duration, a.outcome, a.status, a.error, result))
    tx.db.executemany(Q["insert_attempt"], attempts)
    metadata = [(key, value, row.seq) for row in rows if row.metadata for key, value in row.metadata.items()]
    tx.db.executemany(Q["insert_metadata"], metadata)
    tx.db.executemany(Q["insert_message_file"], [(file.sha256, row.seq) for row in rows for file in row.files])


def _withdraw(
    tx: Transaction, rows: Sequence[MessageRow], waiting: dict[tuple[int, int], int], headed: dict[int, float]
) -> None:
    """Older copies of the messages give way; their lanes will look for their heads again."""
    older = tx.db.execute(D["older_copies"], {"seqs": orjson.dumps([row.seq for row in rows]).decode()}).fetchall()
    for seq, bot, lane, state, files, metadata, in_flight in older:
        if state in (Code.READY, Code.LATER):
            waiting[bot, lane] = waiting.get((bot, lane), 0) - 1
            headed[lane] = 0.0
        else:
            tx.revived(bot, Code(state))
        if in_flight:
            tx.db.execute(D["land"], (lane,))
            tx.sending(bot, -1)
        for sha256 in {file.sha256 for file in load_files(files)}:
            tx.db.execute(Q["purge_message_file"], (sha256, seq))
        for key, value in (load_metadata(metadata) or {}).items():
            tx.db.execute(Q["purge_metadata"], (key, value, seq))
    seqs = [(row[0],) for row in older]
    tx.db.executemany(Q["purge_attempts"], seqs)
    tx.db.executemany(Q["purge_message"], seqs)


_LOADERS: dict[Section, Callable[[Transaction, Any], None]] = {
    Section.SEQUENCE: _load_sequence,
    Section.BOTS: _load_bots,
    Section.LANES: _load_lanes,
    Section.ALIASES: _load_aliases,
    Section.MESSAGES: _load_messages,
    Section.FILE_IDS: _load_file_ids,
    Section.DAYS: _load_days,
    Section.KEYS: _load_keys,
}
