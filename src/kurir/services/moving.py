"""Carry everything from one store to another: resumable, verified; nobody sends from the target before that, or from the
source after it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import orjson

from kurir.core.errors import StoreError
from kurir.core.rows import BotRow, Section, SequenceRow
from kurir.ports import Portable, Row, Store, SystemClock

from .comparing import Comparison, all_of, compare, pages
from .shelves import Shelf, carry_files

LOOK_EVERY = 0.5  # seconds between two looks at who sends
HELD = "`kurir move` fills this store"  # why its bots are paused meanwhile
MOVED = "moved to"  # why the source's are afterwards; the target's name follows
FILES = "files"  # what is carried last


class Movable(Store, Portable, Protocol):
    """A store that can be moved."""


@dataclass(frozen=True, slots=True)
class Side:
    """A store to move from or to. `name`: its URL without secrets. `shelf` has its files; None: they stay there."""

    name: str
    store: Movable
    shelf: Shelf | None = None

    def now(self) -> float:
        """By the clock that its leases go by."""
        now: float = getattr(self.store, "clock", _SYSTEM).now()
        return now


_SYSTEM = SystemClock()


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done: "copy" or "compare", which section (or "files"), and how many rows of it more are done."""

    doing: str
    what: str
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a move would do. `standing` of the target: "empty", "begun" (from this source) or "in use"."""

    messages: int
    bots: int
    files: int
    standing: str
    busy: tuple[str, ...]  # who sends, from either


@dataclass(frozen=True, slots=True)
class Moved:
    """How a move ended. When not all is `same`, the move can be run again, and the target's bots stay paused but for those
    that were `let_go`."""

    compared: tuple[Comparison, ...]
    files: int  # that the target has now
    missing: tuple[str, ...] = ()  # files that the source has and the target has not
    let_go: bool = False  # a run that was broken off had found all alike, and let bots of the target send
    source_paused: bool = False  # its bots send nothing until resumed

    @property
    def same(self) -> bool:
        return not self.missing and all(comparison.same for comparison in self.compared)


@dataclass(frozen=True, slots=True)
class _Mark:
    """Kept in the target until the move is done: whose rows it holds, and how far."""

    source: str
    section: str = Section.SEQUENCE.value  # being copied, or FILES; "" once all was verified: bots may have been let go
    cursor: str | None = None


class Move:
    """From `source` to `target`, both open. `tell` hears of every step. Raises StoreError, also when it must not be done."""

    def __init__(self, source: Side, target: Side, tell: Callable[[Step], None] = lambda _: None) -> None:
        self._source = source
        self._target = target
        self._tell = tell

    async def plan(self) -> Plan:
        """What `run` would do; writes nothing."""
        bots = (await self._source.store.stats(days=0)).bots
        messages = sum(b.waiting + b.delivered + b.dead + b.cancelled + b.expired for b in bots)
        files = len(await self._source.shelf.names()) if self._source.shelf and self._target.shelf else 0
        mark = await self._marked()
        begun = mark is not None and mark.source == self._source.name
        standing = "begun" if begun else "in use" if mark or await self._held_sections() else "empty"
        return Plan(messages, len(bots), files, standing, tuple(await self.busy()))

    async def busy(self) -> list[str]:
        """Who sends from either store, in words."""
        found = []
        for side in (self._source, self._target):
            now = side.now()
            for bot in (await side.store.stats(days=0)).bots:
                if bot.holder is not None and (bot.lease_until or 0.0) > now:
                    found.append(f"{bot.holder} sends for bot {bot.bot} from {side.name}")
        return found

    async def run(self, wait: float = 0.0, *, pause_source: bool = True) -> Moved:
        """All of it, or what is left of it. `wait`: seconds in which those who send may come to their end. `pause_source`:
        its bots send nothing more until they are resumed, so that nothing goes out from both."""
        await self._quiet(wait)
        mark = await self._begin()
        verified = not mark.section
        if not verified:
            await self._copy_all(mark)
        moved = await self._verify(verified)
        if not moved.same:
            if not moved.let_go:
                await self._mark(_Mark(self._source.name))
            return moved
        await self._mark(_Mark(self._source.name, section=""))
        await self._let_go()
        if pause_source:
            await self._pause_source()
        await self._target.store.mark(None)
        return replace(moved, source_paused=pause_source)

    # ---------------------------------------------------------------- before

    async def _quiet(self, wait: float) -> None:
        """Nobody sends from either store. Raises StoreError if somebody still does after `wait` seconds."""
        end = asyncio.get_running_loop().time() + wait
        while who := await self.busy():
            if asyncio.get_running_loop().time() >= end:
                remedy = (
                    "Stop all that uses either store (a lease of one that was killed soon runs out), or use --wait."
                )
                raise StoreError("; ".join(who), remedy)
            await asyncio.sleep(LOOK_EVERY)

    async def _begin(self) -> _Mark:
        """The target is empty, or holds what an earlier run of this very move left. Raises StoreError."""
        mark = await self._marked()
        if mark is None:
            if held := await self._held_sections():
                raise StoreError(
                    f"{self._target.name} is not empty: it holds {', '.join(held)}", "Move to an empty store."
                )
            mark = _Mark(self._source.name)
            await self._mark(mark)
        elif mark.source != self._source.name:
            raise StoreError(
                f"{self._target.name} is being filled from {mark.source}",
                "Finish that move, by the same URL, or move to an empty store.",
            )
        return mark

    async def _held_sections(self) -> list[str]:
        return [section.value for section in Section if (await self._target.store.dump(section, limit=1)).rows]

    async def _marked(self) -> _Mark | None:
        kept = await self._target.store.marked()
        return None if kept is None else _Mark(**orjson.loads(kept))

    async def _mark(self, mark: _Mark) -> None:
        await self._target.store.mark(orjson.dumps(asdict(mark)).decode())

    # ---------------------------------------------------------------- copying

    async def _copy_all(self, mark: _Mark) -> None:
        """What is left of it, but for files."""
        sections = [section.value for section in Section]
        for section in Section if mark.section != FILES else ():
            if section.value == mark.section:
                await self._copy(section, mark.cursor)
            elif sections.index(section.value) > sections.index(mark.section):
                await self._copy(section, None)
        await self._mark(_Mark(self._source.name, FILES))

    async def _copy(self, section: Section, cursor: str | None) -> None:
        if section is Section.BOTS:
            await self._load_bots([_held(bot) for bot in await self._bots()])
            return
        async with aclosing(pages(self._source.store, section, cursor)) as chunks:
            async for chunk in chunks:
                await self._target.store.load(section, chunk.rows)
                if chunk.next is not None:
                    await self._mark(_Mark(self._source.name, section.value, chunk.next))
                self._tell(Step("copy", section.value, len(chunk.rows)))

    async def _load_bots(self, bots: list[BotRow]) -> None:
        await self._target.store.load(Section.BOTS, bots)
        self._tell(Step("copy", Section.BOTS.value, len(bots)))

    async def _bots(self) -> list[BotRow]:
        """All of the source's bots, those too of which nothing but messages tell."""
        told = await self._told(self._source)
        seen = {row.bot for row in told}
        stats = await self._source.store.stats(days=0)
        return [*told, *(BotRow(bot.bot) for bot in stats.bots if bot.bot not in seen)]

    async def _told(self, side: Side) -> list[BotRow]:
        return [row async for row in all_of(side.store, Section.BOTS)() if isinstance(row, BotRow)]

    async def _carry_files(self) -> tuple[int, tuple[str, ...]]:
        """How many files the target has then, and which of the source's it has not."""
        source, target = self._source.shelf, self._target.shelf
        if source is None or target is None:
            return 0, ()
        return await carry_files(source, target, lambda: self._tell(Step("copy", FILES, 1)))

    # ---------------------------------------------------------------- comparing

    async def _verify(self, verified: bool) -> Moved:
        """Every row is compared in this run, whatever an earlier one found (`verified`). Raises StoreError when somebody
        sent or wrote meanwhile."""
        let_go = verified and not all(_is_held(bot) for bot in await self._told(self._target))
        files, missing = await self._carry_files()
        before = await self._counts()
        compared = [await self._compare(section, verified) for section in Section]
        if who := await self.busy():
            raise StoreError("; ".join(who), "Stop all that uses either store, and move again.")
        if await self._counts() != before:
            if not let_go:
                await self._mark(_Mark(self._source.name))
            raise StoreError(
                f"{self._source.name} was written to while it was compared",
                "Stop all that hands messages to it, `kurir serve --no-courier` and programs too, and move again.",
            )
        return Moved(tuple(compared), files, missing, let_go)

    async def _counts(self) -> tuple[object, ...]:
        """They change with every message that the source is given, and whenever one ends or is revived."""
        bots = (await self._source.store.stats(days=0)).bots
        counts = {b.bot: (b.waiting, b.delivered, b.dead, b.cancelled, b.expired) for b in bots}
        return counts, [row async for row in all_of(self._source.store, Section.SEQUENCE)()]

    async def _compare(self, section: Section, verified: bool) -> Comparison:
        """The target's bots are as the source's, but paused; once they may have been let go, their pauses are their own."""
        source, target = all_of(self._source.store, section), all_of(self._target.store, section)
        if section is Section.BOTS:
            source = self._held_bots
            target = self._bots_there if verified else target
        elif section is Section.SEQUENCE:
            target = self._sequence
        return await compare(section, source, target, lambda s, n: self._tell(Step("compare", s.value, n)))

    async def _sequence(self) -> AsyncIterator[Row]:
        """The target may have given out further numbers."""
        last = [
            row.last async for row in all_of(self._source.store, Section.SEQUENCE)() if isinstance(row, SequenceRow)
        ]
        async for row in all_of(self._target.store, Section.SEQUENCE)():
            if isinstance(row, SequenceRow) and last:
                yield SequenceRow(min(row.last, *last))

    async def _held_bots(self) -> AsyncIterator[Row]:
        for bot in await self._bots():
            yield _held(bot)

    async def _bots_there(self) -> AsyncIterator[Row]:
        for bot in await self._told(self._target):
            yield _held(bot)

    # ---------------------------------------------------------------- after

    async def _let_go(self) -> None:
        """Bots that are held get the pause they had in the source. Others have been let go before: theirs is not touched."""
        held = {bot.bot for bot in await self._told(self._target) if _is_held(bot)}
        await self._load_bots([bot for bot in await self._bots() if bot.bot in held])

    async def _pause_source(self) -> None:
        """The last step: before it, the source's pauses are what the target's are made from."""
        for bot in await self._bots():
            await self._source.store.steer(bot.bot, until=math.inf, reason=f"{MOVED} {self._target.name}")


def _held(bot: BotRow) -> BotRow:
    return replace(bot, paused_until=math.inf, paused_why=HELD)


def _is_held(bot: BotRow) -> bool:
    return math.isinf(bot.paused_until) and bot.paused_why == HELD
