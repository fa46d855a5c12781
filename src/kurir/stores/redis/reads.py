"""Looking: `find`, `lanes`, `stats`. What lies with several bots is read bot by bot and put in order here."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import orjson

from kurir.core.errors import InvalidMessage
from kurir.ports import BotStats, Day, Lane, LanePage, LaneQuery, Page, Query
from kurir.stores.codec import too_large

from .calls import Calls
from .packing import CODES, lane_of, record_of

MAX_PAGE = 1000
WORK = 2048  # order numbers that one call looks at, at most ...
LEAST_WORK = 128  # ... and of each bot, where it looks at several
Row = list[Any]  # begins with a number
T = TypeVar("T")


class Reads:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def bots(self, bot: int | None = None) -> list[int]:
        """All bots, or `bot` if it is one of them."""
        known = sorted(int(id) for id in await self._calls.link.command("SMEMBERS", self._calls.keys.bots))
        return [id for id in known if bot in (None, id)]

    # ---------------------------------------------------------------- find

    async def find(self, query: Query) -> Page:
        """See `ports.Store.find`."""
        limit = max(0, min(query.limit, MAX_PAGE))
        rows = await self.rows(query, limit + 1)
        records = tuple(record_of(bot, row, query.with_attempts) for bot, row in rows[:limit])
        return Page(records, str(records[-1].seq) if records and len(rows) > limit else None)

    async def rows(self, query: Query, limit: int) -> list[tuple[int, Row]]:
        """(bot, row) of the first `limit` that match, in the query's order."""
        after = position(query.cursor)
        start = None if after is None else after + (1 if query.oldest_first else -1)
        bots = [query.bot] if query.bot is not None else await self.bots()
        told = orjson.dumps(conditions(query))
        size = max(10, limit // max(1, len(bots)) + 1) if len(bots) > 1 else limit

        async def piece(its: Sequence[int], place: Any, work: int) -> list[Any]:
            return await self._calls.look_at_all("walk", its, told, size, "" if place is None else place, work)

        return await _merged(bots, piece, start, limit, -1 if not query.oldest_first else 1)

    # ---------------------------------------------------------------- lanes

    async def lanes(self, query: LaneQuery) -> LanePage:
        """See `ports.Store.lanes`."""
        limit, after = max(0, min(query.limit, MAX_PAGE)), position(query.cursor)
        bots = [query.bot] if query.bot is not None else await self.bots()
        flags = (int(query.waiting), int(query.suppressed))
        if query.chat is not None:
            return await self._named(query.chat, [bot for bot in bots if after is None or bot > after], flags, limit)

        async def piece(its: Sequence[int], place: Any, work: int) -> list[Any]:
            return await self._calls.look_at_all("lanes_from", its, *flags, limit + 1, place, work)

        rows = await _merged(bots, piece, 0 if after is None else after + 1, limit + 1, 1)
        items = tuple(lane_of(bot, row) for bot, row in rows[:limit])
        return LanePage(items, str(rows[limit - 1][1][0]) if items and len(rows) > limit else None)

    async def _named(self, chat: str, bots: Sequence[int], flags: tuple[int, int], limit: int) -> LanePage:
        answers = await self._calls.look_at_all("lane", bots, chat, *flags)
        found = []
        for bot, answer in zip(bots, answers, strict=True):
            if isinstance(answer, bytes):
                found.append(Lane(bot, chat, moved_to=answer.decode()))
            elif answer is not None:
                found.append(lane_of(bot, answer))
        items = tuple(found[:limit])
        return LanePage(items, str(items[-1].bot) if items and len(found) > limit else None)

    # ---------------------------------------------------------------- stats

    async def stats(self, bot: int | None, most_days: int) -> tuple[tuple[BotStats, ...], tuple[Day, ...]]:
        """See `ports.Store.stats`."""
        bots = await self.bots()
        answers = await self._calls.look_at_all("stats", bots, most_days)
        rows = dict(zip(bots, answers, strict=True))
        shown = tuple(_stats_of(id, *row[:3]) for id, row in rows.items() if bot in (None, id))
        days = [
            Day(id, day.decode(), *(int(n) for n in counts))
            for id, row in rows.items()
            for day, *counts in zip(*(row[3][place::5] for place in range(5)), strict=True)
        ]
        last = sorted({day.day for day in days})[-most_days:] if most_days > 0 else []
        told = (day for day in days if day.day in last and bot in (None, day.bot))
        return shown, tuple(sorted(told, key=lambda day: (day.day, day.bot)))


def _stats_of(bot: int, row: list[bytes | None], flying: int, oldest: bytes) -> BotStats:
    waiting, delivered, dead, cancelled, expired, lanes, fenced = (int(n or 0) for n in row[:7])
    holder, until, paused, why = row[7:]
    return BotStats(
        bot=bot,
        waiting=waiting,
        sending=flying,
        delivered=delivered,
        dead=dead,
        cancelled=cancelled,
        expired=expired,
        lanes=lanes,
        oldest_due=float(oldest) if oldest else None,
        fenced=fenced,
        holder=holder.decode() if holder is not None else None,
        lease_until=float(until) if holder is not None and until is not None else None,
        paused_until=float(paused or 0.0),
        paused_why=why.decode() if why is not None else None,
    )


def position(cursor: str | None) -> int | None:
    """The number of the last item already seen. Raises InvalidMessage."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 15:
        raise InvalidMessage("cursor", "is not one of ours", "Pass on the `next` of the page before.")
    return int(cursor)


def conditions(query: Query) -> dict[str, Any]:
    """The query for the script: only what is asked for. Raises InvalidMessage for numbers that are none of ours."""
    if any(seq >= 2**63 for seq in query.seqs):
        raise too_large()
    told: dict[str, Any] = {
        "ids": query.ids or None,
        "seqs": list(dict.fromkeys(query.seqs)) or None,
        "states": [CODES[state] for state in query.states] or None,
        "chat": query.chat,
        "method": query.method,
        "priority": query.priority,
        "since": query.since,
        "until": query.until,
        "expired_by": query.expired_by,
        "key": query.key,
        "metadata": query.metadata or None,
        "reason": query.reason or None,
        "file": query.file,
        "forward": query.oldest_first or None,
    }
    return {name: value for name, value in told.items() if value is not None}


Piece = Callable[
    [Sequence[int], Any, int], Awaitable[list[Any]]
]  # bots, from where, how much -> (where to go on, rows)


async def _merged(bots: Sequence[int], piece: Piece, start: Any, limit: int, sign: int) -> list[tuple[int, Row]]:
    """The first `limit` rows of all bots, by their numbers. The first piece of each is read in one go."""
    firsts = await piece(bots, start, max(LEAST_WORK, WORK // max(1, len(bots)))) if bots else []
    streams = {bot: _rows(bot, piece, *first) for bot, first in zip(bots, firsts, strict=True)}
    heads = []
    for bot, stream in streams.items():
        row = await anext(stream, None)
        if row is not None:
            heads.append((sign * row[0], bot, row))
    heapq.heapify(heads)
    found: list[tuple[int, Row]] = []
    while heads and len(found) < limit:
        _, bot, row = heapq.heappop(heads)
        found.append((bot, row))
        following = await anext(streams[bot], None) if len(found) < limit else None
        if following is not None:
            heapq.heappush(heads, (sign * following[0], bot, following))
    return found


async def _rows(bot: int, piece: Piece, place: bytes, rows: list[Row]) -> AsyncIterator[Row]:
    """One bot's rows: these, and then more, fetched as they are wanted."""
    while True:
        for row in rows:
            yield row
        if not place:
            return
        [(place, rows)] = await piece([bot], place, WORK)
