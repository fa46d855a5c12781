"""Looking: `find`, `lanes`, `stats`. What lies with several bots is read bot by bot and put in order here."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import orjson

from kurir.core.errors import InvalidMessage
from kurir.core.message import State
from kurir.ports import BotStats, Day, Lane, LanePage, LaneQuery, Page, Query

from .calls import Calls
from .packing import CODES, lane_of, record_of

MAX_PAGE = 1000
WORK = 2048  # order numbers that one call looks at, at most
_COUNTS = ("waiting", "delivered", "dead", "cancelled", "expired", "lanes", "fenced")
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

        def walk(bot: int) -> AsyncIterator[Row]:
            async def piece(place: Any) -> Any:
                return await self._calls.look("walk", bot, told, size, "" if place is None else place, WORK)

            return _rows(piece, start)

        return await _merged({bot: walk(bot) for bot in bots}, limit, 1 if query.oldest_first else -1)

    # ---------------------------------------------------------------- lanes

    async def lanes(self, query: LaneQuery) -> LanePage:
        """See `ports.Store.lanes`."""
        limit, after = max(0, min(query.limit, MAX_PAGE)), position(query.cursor)
        bots = [query.bot] if query.bot is not None else await self.bots()
        flags = (int(query.waiting), int(query.suppressed))
        if query.chat is not None:
            return await self._named(query.chat, [bot for bot in bots if after is None or bot > after], flags, limit)

        def walk(bot: int) -> AsyncIterator[Row]:
            async def piece(place: Any) -> Any:
                return await self._calls.look("lanes_from", bot, *flags, limit + 1, place, WORK)

            return _rows(piece, 0 if after is None else after + 1)

        rows = await _merged({bot: walk(bot) for bot in bots}, limit + 1, 1)
        items = tuple(lane_of(bot, row) for bot, row in rows[:limit])
        return LanePage(items, str(rows[limit - 1][1][0]) if items and len(rows) > limit else None)

    async def _named(self, chat: str, bots: Sequence[int], flags: tuple[int, int], limit: int) -> LanePage:
        answers = await asyncio.gather(*(self._calls.look("lane", bot, chat, *flags) for bot in bots))
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
        answers = await asyncio.gather(*(self._calls.look("stats", id) for id in bots))
        rows = dict(zip(bots, answers, strict=True))
        shown = tuple(_stats_of(id, *row[:3]) for id, row in rows.items() if bot in (None, id))
        days: dict[tuple[str, int], dict[int, int]] = {}
        for id, row in rows.items():
            for field, n in zip(row[3][::2], row[3][1::2], strict=True):
                day, _, code = field.decode().rpartition(":")
                days.setdefault((day, id), {})[int(code)] = int(n)
        last = sorted({day for day, _ in days})[-most_days:] if most_days > 0 else []
        codes = [CODES[state] for state in (State.DELIVERED, State.DEAD, State.CANCELLED, State.EXPIRED)]
        told = tuple(
            Day(id, day, *(ended.get(code, 0) for code in codes))
            for (day, id), ended in sorted(days.items())
            if day in last and bot in (None, id)
        )
        return shown, told


def _stats_of(bot: int, pairs: list[bytes], flying: int, oldest: bytes) -> BotStats:
    row = {name.decode(): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
    holder, why = row.get("holder"), row.get("why")
    return BotStats(
        bot=bot,
        sending=flying,
        oldest_due=float(oldest) if oldest else None,
        holder=holder.decode() if holder is not None else None,
        lease_until=float(row["until"]) if holder is not None else None,
        paused_until=float(row.get("paused", 0.0)),
        paused_why=why.decode() if why is not None else None,
        **{name: int(row.get(name, 0)) for name in _COUNTS},
    )


def position(cursor: str | None) -> int | None:
    """The number of the last item already seen. Raises InvalidMessage."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 15:
        raise InvalidMessage("cursor", "is not one of ours", "Pass on the `next` of the page before.")
    return int(cursor)


def conditions(query: Query) -> dict[str, Any]:
    """The query for the script: only what is asked for."""
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


async def _rows(piece: Callable[[Any], Awaitable[Any]], place: Any) -> AsyncIterator[Row]:
    """One bot's rows, fetched piece by piece as they are wanted."""
    while place != b"":
        place, rows = await piece(place)
        for row in rows:
            yield row


async def _merged(streams: dict[int, AsyncIterator[Row]], limit: int, sign: int) -> list[tuple[int, Row]]:
    """The first `limit` rows of all streams, by their numbers."""
    firsts = await asyncio.gather(*(_next(stream) for stream in streams.values()))
    heads = [(sign * row[0], bot, row) for bot, row in zip(streams, firsts, strict=True) if row is not None]
    heapq.heapify(heads)
    found: list[tuple[int, Row]] = []
    while heads and len(found) < limit:
        _, bot, row = heapq.heappop(heads)
        found.append((bot, row))
        following = await _next(streams[bot]) if len(found) < limit else None
        if following is not None:
            heapq.heappush(heads, (sign * following[0], bot, following))
    return found


async def _next(stream: AsyncIterator[Row]) -> Row | None:
    return await anext(stream, None)
