"""Rows of another store come in: `ports.Portable.load`. Everything here runs in a transaction of its own."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Any

import orjson

from kurir.core.message import State
from kurir.core.rows import AliasRow, BotRow, FileIdRow, LaneRow, MessageRow, Section, SequenceRow
from kurir.ports import ApiKey, Day
from kurir.stores.codec import dump_files, dump_metadata, dump_options, dump_pos
from kurir.stores.named import statements

from .states import CODE_OF

D = statements(__package__, "dump.sql")
_ENDS = (State.DELIVERED, State.DEAD, State.CANCELLED, State.EXPIRED)

# The columns of `message` and of `ended`, in the order of `_values`.
_SHARED = (
    *(
        "seq",
        "lane",
        "bot",
        "pos",
        "due_at",
        "accepted_at",
        "expires_at",
        "asked_at",
        "requeued_at",
        "tried_at",
        "tries",
    ),
    *(
        "attempts",
        "doubts",
        "crashes",
        "prio",
        "id",
        "method",
        "params",
        "reason",
        "key",
        "target",
        "files",
        "metadata",
    ),
    *("options", "tried"),
)
_WAITING = [*_SHARED, "later"]
_ENDED = [*_SHARED, "state", "ended_at", "result", "superseded_by"]


async def load(db: Any, section: Section, rows: Sequence[Any]) -> None:
    """The rows of one section, at least one."""
    await db.execute(D["durable"])
    await _LOADERS[section](db, rows)
    await db.execute(D["tell_change"])


def _columns(rows: Sequence[Any], *names: str) -> list[list[Any]]:
    """The rows' fields of these names, each as a list."""
    return [[attrgetter(name)(row) for row in rows] for name in names]


async def _load_sequence(db: Any, rows: Sequence[SequenceRow]) -> None:
    await db.execute(D["load_sequence"], max(row.last for row in rows))


async def _load_bots(db: Any, rows: Sequence[BotRow]) -> None:
    await db.execute(D["load_bots"], *_columns(rows, "bot", "token", "paused_until", "paused_why"))
    await db.execute(D["load_fenced"], *_columns(rows, "bot", "fenced"))


async def _load_lanes(db: Any, rows: Sequence[LaneRow]) -> None:
    ids = await db.fetchval(D["enter_lanes"], *_columns(rows, "bot", "chat"))
    told = _columns(rows, "chat_at", "chat_why", "head_at", "suppressed", "suppressed_at")
    await db.execute(D["load_lanes"], ids, *told)
    await db.execute(D["look_anew"], [row.bot for row in rows])


async def _load_aliases(db: Any, rows: Sequence[AliasRow]) -> None:
    """A chat that was loaded under its old name before it moved goes with it."""
    loaded = [row[0] for row in await db.fetch(D["lanes_named"], *_columns(rows, "bot", "chat"))]
    if loaded:
        await db.execute(D["land"], loaded)
        await db.execute(D["refresh"], loaded)
        today = {(row.bot, row.chat): row.moved_to for row in rows}
        for id, bot, chat in await db.fetch(D["lane_called"], loaded):
            await db.execute(D["move_lane"], id, today[bot, chat])
    await db.executemany(D["load_alias"], [(row.bot, row.chat, row.moved_to) for row in rows])


async def _load_file_ids(db: Any, rows: Sequence[FileIdRow]) -> None:
    await db.execute(D["load_file_ids"], *_columns(rows, "bot", "sha256", "kind", "file_id"))


async def _load_days(db: Any, rows: Sequence[Day]) -> None:
    await db.execute(D["load_days"], *_columns(rows, "bot", "day", "delivered", "dead", "cancelled", "expired"))


async def _load_keys(db: Any, rows: Sequence[ApiKey]) -> None:
    values = [(row.id, row.name, row.role, row.digest, row.created_at, row.revoked_at) for row in rows]
    await db.executemany(D["load_key"], values)


# ---------------------------------------------------------------- messages


async def _load_messages(db: Any, rows: Sequence[MessageRow]) -> None:
    """Whole messages; their lanes count them and look for their heads again."""
    lanes = await db.fetchval(D["enter_lanes"], *_columns(rows, "bot", "chat"))
    waiting: dict[int, int] = {}  # lane: how many more wait
    headed: dict[int, float] = {}  # lanes whose head may have changed: since when a new one has its turn
    ended: dict[int, list[int]] = {}  # bot: how many more ended, each way
    await _withdraw(db, rows, waiting, headed, ended)
    for row, lane in zip(rows, lanes, strict=True):
        if row.state.final:
            ended.setdefault(row.bot, [0] * 4)[_ENDS.index(row.state)] += 1
            continue
        waiting[lane] = waiting.get(lane, 0) + 1
        if row.token is None and not row.later:
            headed.setdefault(lane, row.accepted_at)
    await _insert(db, rows, lanes)
    flights = [(lane, row) for row, lane in zip(rows, lanes, strict=True) if row.token is not None]
    if flights:
        told = _columns([row for _, row in flights], "seq", "priority", "token")
        await db.execute(D["load_flights"], [lane for lane, _ in flights], *told)
    await db.execute(D["lengthen"], list(waiting), list(waiting.values()))
    await db.execute(D["count_ended"], list(ended), *([n[end] for n in ended.values()] for end in range(4)))
    await db.execute(D["head_loaded_lanes"], list(headed), list(headed.values()))
    await db.execute(D["load_sequence"], max(max(row.seq, math.ceil(row.pos)) for row in rows))
    await db.execute(D["look_anew"], list({row.bot for row in rows}))


async def _withdraw(
    db: Any,
    rows: Sequence[MessageRow],
    waiting: dict[int, int],
    headed: dict[int, float],
    ended: dict[int, list[int]],
) -> None:
    """Older copies of the messages give way; their lanes will look for their heads again."""
    older = await db.fetch(D["older_copies"], [row.seq for row in rows])
    if not older:
        return
    await db.execute(D["lock_lanes"], [row["lane"] for row in older])
    for row in older:
        if row["state"] == 0:
            waiting[row["lane"]] = waiting.get(row["lane"], 0) - 1
            headed[row["lane"]] = 0.0
        else:
            ended.setdefault(row["bot"], [0] * 4)[row["state"] - CODE_OF[State.DELIVERED]] -= 1
    seqs = [row["seq"] for row in older]
    for statement in ("land_messages", "forget_messages", "forget_ended", "forget_metadata", "forget_files"):
        await db.execute(D[statement], seqs)
    await db.execute(D["forget_keys"], [row["id"] for row in older], list({row["bot"] for row in older}))


async def _insert(db: Any, rows: Sequence[MessageRow], lanes: Sequence[int]) -> None:
    waiting, ended = [], []
    for row, lane in zip(rows, lanes, strict=True):
        shared = _values(row, lane)
        if row.state.final:
            result = None if row.result is None else row.result.decode()
            ended.append((*shared, CODE_OF[row.state], row.ended_at, result, row.superseded_by))
        else:
            waiting.append((*shared, row.later))
    metadata = [(key, value, row.seq) for row in rows if row.metadata for key, value in row.metadata.items()]
    files = sorted({(file.sha256, row.seq) for row in rows for file in row.files})
    keys = sorted((row.bot, row.key, row.digest, row.id) for row in rows if row.key is not None)
    for table, columns, records in (
        ("message", _WAITING, waiting),
        ("ended", _ENDED, ended),
        ("key", ["bot", "key", "digest", "id"], keys),
        ("metadata", ["key", "value", "seq"], metadata),
        ("message_file", ["sha256", "seq"], files),
    ):
        if records:
            await db.copy_records_to_table(table, columns=columns, records=records)


def _values(row: MessageRow, lane: int) -> tuple[Any, ...]:
    tried = [[a.number, a.started_at, a.duration, a.outcome, a.status, a.error] for a in row.attempts]
    return (
        row.seq,
        lane,
        row.bot,
        dump_pos(row.pos),
        row.due_at,
        row.accepted_at,
        row.expires_at,
        row.asked_at,
        row.requeued_at,
        row.attempts[-1].started_at if row.attempts else None,
        row.tries,
        len(row.attempts),
        row.doubts,
        row.crashes,
        int(row.priority),
        row.id,
        row.method,
        row.params.decode(),
        row.reason,
        row.key,
        row.target,
        dump_files(row.files),
        dump_metadata(row.metadata),
        dump_options(row.options),
        orjson.dumps(tried).decode()[1:-1] if tried else None,
    )


_LOADERS: dict[Section, Callable[[Any, Any], Awaitable[None]]] = {
    Section.SEQUENCE: _load_sequence,
    Section.BOTS: _load_bots,
    Section.LANES: _load_lanes,
    Section.ALIASES: _load_aliases,
    Section.MESSAGES: _load_messages,
    Section.FILE_IDS: _load_file_ids,
    Section.DAYS: _load_days,
    Section.KEYS: _load_keys,
}
