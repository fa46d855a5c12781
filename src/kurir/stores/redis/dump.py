"""All that the Redis store holds, as rows: `ports.Portable`. What lies with several bots is read bot by bot and sorted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, assert_never

from kurir.core.message import Record, State
from kurir.core.rows import AliasRow, BotRow, FileIdRow, LaneRow, MessageRow, Section, SequenceRow
from kurir.ports import Chunk, Day, Row

from .api_keys import ApiKeys
from .calls import Calls
from .msgpack import pack, unpack
from .packing import CODES, dump_draft, record_of, standing_of
from .reads import Reads

WORK = 2048  # order numbers that one call looks at, at most
AT_ONCE = 500  # messages or lanes that one call loads
ALL_DAYS = 1_000_000
_TARGET, _DIGEST, _DUE = 9, 8, 5  # places in a message as it was accepted
_REQUEUED, _LOG = 10, 12  # places in how it stands
R = TypeVar("R", BotRow, LaneRow, AliasRow, MessageRow, FileIdRow, Day)


class Cargo:
    def __init__(self, calls: Calls, reads: Reads, keys: ApiKeys) -> None:
        self._calls = calls
        self._reads = reads
        self._keys = keys
        self._note = calls.keys.of_store("move")

    # ---------------------------------------------------------------- out

    async def dump(self, section: Section, cursor: str | None, limit: int) -> Chunk:
        """See `ports.Portable.dump`. Small sections come in one piece."""
        match section:
            case Section.LANES:
                found, place = await self._in_order("dump_lanes", cursor, limit)
                return Chunk(tuple(_lane_row(bot, row) for bot, row in found), place)
            case Section.MESSAGES:
                found, place = await self._in_order("dump_messages", cursor, limit)
                return Chunk(tuple(_message_row(bot, row) for bot, row in found), place)
        return Chunk(tuple(await self._all(section)))

    async def _all(self, section: Section) -> Sequence[Row]:
        match section:
            case Section.SEQUENCE:
                last = int(await self._calls.link.command("GET", self._calls.keys.counter) or 0)
                return [SequenceRow(last)] if last else []
            case Section.BOTS:
                bots, _ = await self._reads.stats(None, 0)
                tokens = await asyncio.gather(*(self._token(bot.bot) for bot in bots))
                rows = (
                    BotRow(b.bot, token, b.paused_until, b.paused_why, b.fenced)
                    for b, token in zip(bots, tokens, strict=True)
                )
                return [row for row in rows if row.token or row.paused_until or row.fenced]
            case Section.ALIASES:
                return [row for bot in await self._reads.bots() for row in await self._aliases(bot)]
            case Section.FILE_IDS:
                return [row for bot in await self._reads.bots() for row in await self._file_ids(bot)]
            case Section.DAYS:
                return (await self._reads.stats(None, ALL_DAYS))[1]
            case Section.KEYS:
                return await self._keys.all()
            case _:
                raise AssertionError(section)

    async def _token(self, bot: int) -> int:
        return int(await self._calls.link.command("HGET", self._calls.keys.of_bot(bot, "b"), "token") or 0)

    async def _aliases(self, bot: int) -> list[AliasRow]:
        told = [name.decode() for name in await self._calls.look("dump_names", bot)]
        return [AliasRow(bot, old, new) for old, new in zip(told[::2], told[1::2], strict=True)]

    async def _file_ids(self, bot: int) -> list[FileIdRow]:
        table = await self._calls.link.command("HGETALL", self._calls.keys.of_bot(bot, "o"))
        pairs = table.items() if isinstance(table, dict) else zip(table[::2], table[1::2], strict=True)
        return [
            FileIdRow(bot, sha256.decode(), kind.decode(), file_id.decode())
            for sha256, packed in sorted(pairs)
            for kind, file_id in sorted(unpack(packed)[0].items())
        ]

    async def _in_order(self, name: str, cursor: str | None, limit: int) -> tuple[list[_Numbered], str | None]:
        """About `limit` rows of all bots by their numbers, from `cursor` on, and where to go on."""
        bots = await self._reads.bots()
        streams = [_Stream(bot, int(cursor or 0), limit // len(bots) + 1) for bot in bots]
        found: list[_Numbered] = []
        while True:
            bound = min((stream.place for stream in streams if stream.place is not None), default=None)
            ready = [row for stream in streams for row in stream.take(bound)]
            found += sorted(ready, key=lambda numbered: numbered[1][0])
            if bound is None or len(found) >= limit:
                return found, None if bound is None else str(bound)
            await asyncio.gather(*(self._read(name, stream) for stream in streams if not stream.rows))

    async def _read(self, name: str, stream: _Stream) -> None:
        """The next piece of a stream, twice as large as the one before."""
        if stream.place is None:
            return
        place, rows = await self._calls.look(name, stream.bot, stream.place, stream.size, WORK)
        stream.place = int(float(place)) if place else None
        stream.rows += rows
        stream.size *= 2

    # ---------------------------------------------------------------- in

    async def load(self, section: Section, rows: Sequence[Any]) -> None:
        """See `ports.Portable.load`: bot by bot."""
        match section:
            case Section.SEQUENCE:
                for row in rows:
                    await self._calls.link.run("load_sequence", [self._calls.keys.counter], [row.last])
            case Section.BOTS:
                for row in rows:
                    why = (int(row.paused_why is not None), row.paused_why or "")
                    words = (row.bot, row.token, repr(row.paused_until), *why, row.fenced)
                    await self._calls.run("load_bot", [row.bot], *words)
            case Section.LANES:
                await self._load_lanes(rows)
            case Section.MESSAGES:
                await self._load_messages(rows)
            case Section.ALIASES:
                await self._load("load_names", rows, lambda row: (row.chat, row.moved_to))
            case Section.FILE_IDS:
                await self._load("load_file_ids", rows, lambda row: (row.sha256, row.kind, row.file_id))
            case Section.DAYS:
                await self._load("load_days", rows, _day_words)
            case Section.KEYS:
                for row in rows:
                    await self._keys.restore(row)
            case _:
                assert_never(section)

    async def _load(self, name: str, rows: Iterable[R], words: Callable[[R], Iterable[Any]]) -> None:
        for bot, mine in _by_bot(rows):
            await self._calls.run(name, [bot], bot, *(word for row in mine for word in words(row)))

    async def _load_lanes(self, rows: Sequence[LaneRow]) -> None:
        """New lanes of all bots are numbered in the order of the rows."""
        if not rows:
            return
        last = await self._calls.link.command("INCRBY", self._calls.keys.counter, len(rows))
        numbers = {(row.bot, row.chat): last - len(rows) + n for n, row in enumerate(rows, 1)}
        await self._load("load_lanes", rows, lambda row: (row.chat, numbers[row.bot, row.chat], _packed(row)))

    async def _load_messages(self, rows: Sequence[MessageRow]) -> None:
        """Lanes that only messages tell of get numbers, too."""
        for bot, mine in _by_bot(rows):
            words = [word for row in mine for word in _message_words(row)]
            await self._calls.numbered("load_messages", bot, *words, new=len(mine))
        if rows:
            last = max(row.seq for row in rows)
            await self._calls.link.run("load_sequence", [self._calls.keys.counter], [last])

    # ---------------------------------------------------------------- the note

    async def mark(self, mark: str | None) -> None:
        """See `ports.Portable.mark`."""
        words = ("DEL", self._note) if mark is None else ("SET", self._note, mark)
        await self._calls.link.command(*words, writes=True)

    async def marked(self) -> str | None:
        """See `ports.Portable.marked`."""
        kept = await self._calls.link.command("GET", self._note)
        return None if kept is None else kept.decode()


_Numbered = tuple[int, list[Any]]  # bot, row; that begins with its number


@dataclass(slots=True, eq=False)
class _Stream:
    """One bot's rows: those read and not taken yet, and from which number on the others are (None: there are none)."""

    bot: int
    place: int | None
    size: int
    rows: list[list[Any]] = field(default_factory=list)

    def take(self, bound: int | None) -> list[_Numbered]:
        """Those below `bound`."""
        ready = [row for row in self.rows if bound is None or row[0] < bound]
        self.rows = self.rows[len(ready) :]
        return [(self.bot, row) for row in ready]


def _by_bot(rows: Iterable[R]) -> list[tuple[int, list[R]]]:
    """The rows of each bot, in order, not too many at once."""
    sorted_out: dict[int, list[R]] = {}
    for row in rows:
        sorted_out.setdefault(row.bot, []).append(row)
    return [
        (bot, mine[first : first + AT_ONCE])
        for bot, mine in sorted_out.items()
        for first in range(0, len(mine), AT_ONCE)
    ]


# ---------------------------------------------------------------- rows


def _lane_row(bot: int, row: list[Any]) -> LaneRow:
    _, chat, chat_at, why, at, suppressed, since = row
    return LaneRow(
        bot=bot,
        chat=chat.decode(),
        chat_at=float(chat_at),
        chat_why=None if why is None else why.decode(),
        head_at=float(at) if at else None,
        suppressed=None if suppressed is None else suppressed.decode(),
        suppressed_at=float(since) if since else None,
    )


def _packed(row: LaneRow) -> bytes:
    return pack(row.chat_at, row.chat_why, row.head_at, row.suppressed, row.suppressed_at)


def _day_words(row: Day) -> list[Any]:
    counts = ((State.DELIVERED, row.delivered), (State.DEAD, row.dead), (State.CANCELLED, row.cancelled))
    return [
        word
        for state, count in (*counts, (State.EXPIRED, row.expired))
        for word in (f"{row.day}:{CODES[state]}", count)
    ]


def _message_row(bot: int, row: list[Any]) -> MessageRow:
    seq, chat, later, token, pos, raw, raw_standing = row
    record = record_of(bot, [seq, chat, 0, raw, raw_standing], with_attempts=True)
    told, standing = unpack(raw), standing_of(raw_standing) if raw_standing is not None else None
    target, digest = told[_TARGET], told[_DIGEST]
    return MessageRow(
        seq=seq,
        id=record.id,
        bot=bot,
        chat=record.chat,
        method=record.method,
        params=record.params,
        state=record.state,
        priority=record.priority,
        pos=float(pos),
        accepted_at=float(record.accepted_at),
        token=None if token == b"" else token,
        later=bool(later),
        due_at=float(record.due_at),
        ended_at=_float(record.ended_at),
        expires_at=_float(record.expires_at),
        asked_at=_float(told[_DUE]),
        requeued_at=_float(standing[_REQUEUED]) if standing else None,
        reason=record.reason,
        result=record.result,
        key=record.key,
        digest=digest,
        target=None if target is None else target.decode(),
        files=record.files,
        metadata=record.metadata or None,
        options=record.options,
        tries=record.tries,
        doubts=record.doubts,
        crashes=record.crashes,
        superseded_by=record.superseded_by,
        attempts=_exact(record),
    )


def _exact(record: Record) -> Any:
    """The attempts; whole numbers of seconds come as integers from the server."""
    return tuple(replace(a, started_at=float(a.started_at), duration=float(a.duration)) for a in record.attempts)


def _float(at: float | None) -> float | None:
    return None if at is None else float(at)


def _message_words(row: MessageRow) -> tuple[Any, ...]:
    draft = row.draft(row.asked_at or 0.0)
    token = "" if row.token is None else row.token
    return row.seq, int(row.later), token, repr(row.pos), dump_draft(draft, 0.0), _standing(row)


def _standing(row: MessageRow) -> bytes:
    """How it stands; nothing for a message that waits untouched."""
    counters = (row.tries, row.doubts, row.crashes, len(row.attempts))
    touched = (row.state is not State.WAITING, any(counters), row.pos != row.seq, row.due_at != (row.asked_at or 0.0))
    if not any(touched) and row.reason is None and row.requeued_at is None and row.superseded_by is None:
        return b""
    log = b"".join(pack(a.started_at, a.duration, a.outcome, a.status, a.error) for a in row.attempts)
    pos = None if row.pos == row.seq else row.pos
    ends = (row.ended_at, row.reason, *counters, row.superseded_by, row.requeued_at, row.result)
    return pack(CODES[row.state], pos, row.due_at or None, *ends, log or None, None)
