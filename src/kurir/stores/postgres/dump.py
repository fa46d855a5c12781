"""All that the PostgreSQL store holds, as rows: `ports.Portable`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import orjson

from kurir.core.message import Attempt, Priority
from kurir.core.rows import AliasRow, BotRow, FileIdRow, LaneRow, MessageRow, Section, SequenceRow
from kurir.ports import ApiKey, Chunk, Day, Row
from kurir.stores.codec import load_files, load_metadata, load_options, load_pos
from kurir.stores.named import statements

from . import load
from .connections import Work
from .states import STATE_OF

T = TypeVar("T")

D = statements(__package__, "dump.sql")
FIRST = -(2**63)  # before every number
LONGEST = 60.0  # seconds that one step may take


class Cargo(ABC):
    """Mixed into `PostgresStore`."""

    _schema: str

    @abstractmethod
    async def _run(self, work: Work[T], *, limit: float | None = None) -> T: ...

    async def dump(self, section: Section, cursor: str | None = None, limit: int = 1000) -> Chunk:
        return await self._here(lambda db: _dump(db, section, cursor, limit))

    async def load(self, section: Section, rows: Sequence[Row]) -> None:
        if rows:
            await self._here(lambda db: load.load(db, section, rows))

    async def mark(self, mark: str | None) -> None:
        async def note(db: Any) -> None:
            await db.execute(D["forget_mark"])
            if mark is not None:
                await db.execute(D["set_mark"], mark)

        await self._here(note)

    async def marked(self) -> str | None:
        kept: str | None = await self._here(lambda db: db.fetchval(D["mark"]))
        return kept

    async def _here(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """`work` in a transaction in which names stand for those of the schema."""

        async def transaction(db: Any) -> T:
            async with db.transaction(isolation="read_committed"):
                await db.execute(D["search_path"], f'"{self._schema}", pg_temp')
                return await work(db)

        return await self._run(transaction, limit=LONGEST)


async def _dump(db: Any, section: Section, cursor: str | None, limit: int) -> Chunk:
    match section:
        case Section.SEQUENCE:
            last = await db.fetchval(D["dump_sequence"])
            return Chunk((SequenceRow(last),) if last else ())
        case Section.MESSAGES:
            found = await db.fetch(D["dump_messages"], _number(cursor), limit)
            return _chunk([_message_row(row) for row in found], [row["seq"] for row in found], limit)
        case Section.BOTS:
            found = await db.fetch(D["dump_bots"], _number(cursor), limit)
            return _chunk([BotRow(*row) for row in found], [row[0] for row in found], limit)
        case Section.LANES:
            found = await db.fetch(D["dump_lanes"], _number(cursor), limit)
            return _chunk([LaneRow(*row[1:]) for row in found], [row[0] for row in found], limit)
        case Section.KEYS:
            found = await db.fetch(D["dump_keys"], _number(cursor), limit)
            return _chunk([ApiKey(*row[1:]) for row in found], [row[0] for row in found], limit)
        case Section.ALIASES:
            found = await db.fetch(D["dump_aliases"], *_after(cursor, 2), limit)
            return _chunk([AliasRow(*row) for row in found], [row[:2] for row in found], limit)
        case Section.DAYS:
            found = await db.fetch(D["dump_days"], *_after(cursor, 2), limit)
            return _chunk([Day(*row) for row in found], [row[:2] for row in found], limit)
        case Section.FILE_IDS:
            found = await db.fetch(D["dump_file_ids"], *_after(cursor, 3), limit)
            return _chunk([FileIdRow(*row) for row in found], [row[:3] for row in found], limit)


def _number(cursor: str | None) -> int:
    return FIRST if cursor is None else int(cursor)


def _after(cursor: str | None, columns: int) -> list[Any]:
    """The last key that was read: a bot, and texts."""
    return [FIRST, *[""] * (columns - 1)] if cursor is None else orjson.loads(cursor)


def _chunk(rows: Sequence[Row], keys: Sequence[Any], limit: int) -> Chunk:
    return Chunk(tuple(rows), orjson.dumps(keys[-1]).decode() if len(rows) == limit else None)


def _message_row(row: Any) -> MessageRow:
    return MessageRow(
        seq=row["seq"],
        id=row["id"],
        bot=row["bot"],
        chat=row["chat"],
        method=row["method"],
        params=row["params"].encode(),
        state=STATE_OF[row["state"]],
        priority=Priority(row["prio"]),
        pos=load_pos(row["pos"]),
        accepted_at=row["accepted_at"],
        token=row["token"],
        later=row["later"],
        due_at=row["due_at"],
        ended_at=row["ended_at"],
        expires_at=row["expires_at"],
        asked_at=row["asked_at"],
        requeued_at=row["requeued_at"],
        reason=row["reason"],
        result=None if row["result"] is None else row["result"].encode(),
        key=row["key"],
        digest=row["digest"],
        target=row["target"],
        files=load_files(row["files"]),
        metadata=load_metadata(row["metadata"]),
        options=load_options(row["options"]),
        tries=row["tries"],
        doubts=row["doubts"],
        crashes=row["crashes"],
        superseded_by=row["superseded_by"],
        attempts=tuple(_attempt(*attempt) for attempt in orjson.loads(f"[{row['tried'] or ''}]")),
    )


def _attempt(
    number: int, started_at: float, duration: float, outcome: str, status: int | None, error: str | None
) -> Attempt:
    return Attempt(number, float(started_at), float(duration), outcome, status, error)
