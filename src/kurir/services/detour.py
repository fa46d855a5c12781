"""The store as who hands over sees it: while it is away, the local journal takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from kurir.core.errors import StoreAway, StoreError, StoreFull
from kurir.core.events import Event, SpoolingBegan
from kurir.core.message import Accepted, Draft
from kurir.ports import Page, Query, Store
from kurir.stores.journal import Entry, Journal

from .forwarding import Forwarding
from .shelter import Shelter

PATIENCE = 3.0  # seconds the store has to take what is handed over; it knows by the ids what it took after all


class Detour:
    """`submit`, `find` and `watch` of a store. As long as the journal holds anything, what comes goes behind it: messages
    keep their order."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        shelter: Shelter,
        emit: Callable[[Event], None],
        forwarding: Forwarding,
    ) -> None:
        self._store = store
        self._journal = journal
        self._shelter = shelter
        self._emit = emit
        self._forwarding = forwarding
        self._spooling = False
        self._submitting: set[asyncio.Future[list[Accepted]]] = set()

    async def submit(self, drafts: Sequence[Draft], now: float, spool: bool = True) -> list[Accepted]:
        """As `Store.submit`; `Accepted.spooled` where the journal has it. `spool` False: the store, or nothing. Raises
        StoreFull when the journal is full too."""
        if spool and self._journal.holds():
            await self._forwarding.let_pass()
        files = [file for draft in drafts for file in draft.files]
        why = "messages that were spooled before go first"
        if not self._journal.holds():
            self._spooling = False
            try:
                await self._shelter.bring_back(files)
                return await (self._in_time(drafts, now) if spool else self._store.submit(drafts, now))
            except (StoreAway, StoreFull) as error:
                if not spool:
                    raise
                why = str(error)
        elif not spool:
            raise StoreAway(f"{why}: they wait for the store", "Ask again in a moment.")
        await self._shelter.take_in(files)
        accepted = await self._journal.add(drafts)
        if not self._spooling:
            self._spooling = True
            self._emit(SpoolingBegan(why))
        self._forwarding.wake()
        return accepted

    async def _in_time(self, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        submitting = asyncio.ensure_future(self._store.submit(drafts, now))
        self._submitting.add(submitting)
        submitting.add_done_callback(self._heard)
        await asyncio.wait((submitting,), timeout=PATIENCE)
        if submitting.done():
            return submitting.result()
        raise StoreAway(f"the store did not answer within {PATIENCE:g} s", "See `kurir doctor`.")

    def _heard(self, submitting: asyncio.Future[list[Accepted]]) -> None:
        """What the store says when nobody waits for it any more is no news: the messages are in the journal."""
        self._submitting.discard(submitting)
        if not submitting.cancelled():
            submitting.exception()

    async def find(self, query: Query) -> Page:
        """As `Store.find`; a search by ids alone finds what is in the journal too, and that as spooled."""
        held = await self._held(query)
        asked = replace(query, ids=tuple(id for id in query.ids if id not in held)) if held else query
        page = await self._store.find(asked) if asked.ids or not held else Page(())
        return Page((*page.items, *(entry.record for entry in held.values())), page.next)

    async def _held(self, query: Query) -> dict[str, Entry]:
        """Before the store is asked: what is forwarded meanwhile is there when it is."""
        by_ids_alone = replace(query, ids=(), limit=100, with_attempts=False, oldest_first=False) == Query()
        if not query.ids or not by_ids_alone or not self._journal.keeps():
            return {}
        try:
            return {entry.draft.id: entry for entry in await self._journal.find(query.ids)}
        except StoreError:
            return {}

    async def watch(self, timeout: float) -> None:
        """As `Store.watch`."""
        await self._store.watch(timeout)
