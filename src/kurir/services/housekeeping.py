"""Housekeeping: messages past their expiry end, history past its age goes, suppressions past theirs are lifted, files that
nobody needs are removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from kurir.core.errors import StoreError
from kurir.core.events import Altered, Event, StoreBack, StoreTrouble
from kurir.core.message import State
from kurir.ports import Clock, Expire, Query, Store
from kurir.telegram.spool import Spool

SWEEP_EVERY = 5.0  # seconds between looks for expired messages
PRUNE_EVERY = 600.0  # seconds between looks at the history
FIRST_PRUNE = 60.0  # seconds after the start
BATCH = 500  # messages in one step, so that nobody waits for it
EXPIRED = "expired before it could be sent"
STEP = "remove files"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what has ended is kept."""

    history: float = 30 * 86400.0  # seconds; keys live as long
    suppression: float = 30 * 86400.0  # seconds


class Housekeeping:
    """Runs beside the couriers; safe to run in several processes at once."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        spool: Spool | None,
        retention: Retention,
        emit: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._spool = spool
        self._retention = retention
        self._emit = emit
        self._trouble_since: float | None = None  # with files, which nobody else tells of

    async def run(self) -> None:
        """Until cancelled."""
        pruned_at = self._clock.now() - PRUNE_EVERY + FIRST_PRUNE
        while True:
            await self._clock.sleep(SWEEP_EVERY)
            try:
                await self.expire()
                if self._clock.now() - pruned_at >= PRUNE_EVERY:
                    pruned_at = self._clock.now()
                    await self.prune(pruned_at - self._retention.history)
            except StoreError:
                continue  # of the store the couriers tell; next time

    async def expire(self) -> int:
        """End what has expired; answers how many. It looks first, so that usually nothing is written."""
        total = 0
        while True:
            now = self._clock.now()
            query = Query(expired_by=now, states=(State.WAITING,), limit=BATCH)
            found = (await self._store.find(query)).items
            by_bot: dict[int, list[str]] = {}
            for record in found:
                by_bot.setdefault(record.bot, []).append(record.id)
            for bot, ids in by_bot.items():
                ended = await self._store.alter(replace(query, ids=tuple(ids)), Expire(EXPIRED), now)
                total += len(ended)
                if ended:
                    self._emit(Altered(tuple(ended), State.EXPIRED, now, bot, EXPIRED, by_hand=False))
            if len(found) < BATCH:
                return total
            await asyncio.sleep(0)

    async def prune(self, before: float) -> int:
        """Remove what ended before `before` (Unix seconds), then the files only it needed; answers how many messages. Raises
        StoreError, also when the messages are gone and their files are not: those go the next time."""
        total = 0
        orphans: list[str] = []
        while True:
            now = self._clock.now()
            pruned = await self._store.prune(before, now, BATCH, now - self._retention.suppression)
            total += pruned.messages
            orphans.extend(pruned.orphan_files)
            if pruned.messages < BATCH:
                break
            await asyncio.sleep(0)
        if self._spool is not None:
            await self._remove_files(self._spool, orphans)
        return total

    async def _remove_files(self, spool: Spool, orphans: list[str]) -> None:
        """Trouble is told of when it begins, and when it is over."""
        now = self._clock.now()
        try:
            if orphans:
                await spool.remove(orphans)
            await spool.sweep()
            await self._collect(spool)
        except StoreError as error:
            if self._trouble_since is None:
                self._trouble_since = now
                self._emit(StoreTrouble(STEP, str(error)))
            raise
        if self._trouble_since is not None:
            self._emit(StoreBack(now - self._trouble_since, STEP))
            self._trouble_since = None

    async def _collect(self, spool: Spool) -> None:
        """Remove files that no message refers to: of submits that were refused, or died half-way, or not removed before."""
        for sha256 in await spool.blobs():
            if not (await self._store.find(Query(file=sha256, limit=1))).items:
                await spool.remove([sha256])
