"""The store as who hands over sees it: while it is away, the local journal takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from kurir.core.errors import KurirError, SchemaMismatch, StoreAway, StoreError
from kurir.core.events import Event, SpoolingBegan
from kurir.core.message import Accepted, Draft, FileRef
from kurir.ports import Page, Query, Store
from kurir.stores.journal import Entry, Journal

from .forwarding import Forwarding
from .shelter import Shelter

PATIENCE = 3.0  # seconds the store has to take what is handed over; it knows by the ids what it took after all
LATE = 30.0  # seconds more, where the journal does not keep them; stores give up before that


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
        if not spool:
            return await self._unspooled(drafts, now)
        if self._journal.holds():
            await self._forwarding.let_pass()
        why = "messages that were spooled before go first"
        submitting = None
        if not self._journal.holds():
            self._spooling = False
            try:
                await self._shelter.bring_back(_files(drafts))
                submitting = self._begin(drafts, now)
                await asyncio.wait((submitting,), timeout=PATIENCE)
                if submitting.done():
                    return submitting.result()
                why = f"the store did not answer within {PATIENCE:g} s"
            except SchemaMismatch:
                raise
            except StoreError as error:
                why = str(error)
        try:
            accepted = await self._spool(drafts)
        except KurirError as refused:
            return await self._after_all(submitting, refused)
        if not self._spooling:
            self._spooling = True
            self._emit(SpoolingBegan(why))
        self._forwarding.wake()
        return accepted

    async def _unspooled(self, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        if self._journal.holds():
            what = "messages that were spooled before go first: they wait for the store"
            raise StoreAway(what, "Ask again in a moment.")
        await self._shelter.bring_back(_files(drafts))
        return await self._store.submit(drafts, now)

    async def _spool(self, drafts: Sequence[Draft]) -> list[Accepted]:
        if files := _files(drafts):
            await self._journal.check_room(drafts)  # before they take room on the disk
            await self._shelter.take_in(files)
        return await self._journal.add(drafts)

    async def _after_all(
        self, submitting: asyncio.Future[list[Accepted]] | None, refused: KurirError
    ) -> list[Accepted]:
        """The journal does not keep them; what the store says yet to a submit under way counts. Raises `refused` if it does
        not take them either."""
        if submitting is None:
            raise refused
        await asyncio.wait((submitting,), timeout=LATE)
        if not submitting.done():
            raise StoreAway(
                f"whether the store keeps it is in doubt, it has not answered for {PATIENCE + LATE:g} s; {refused.what}",
                "With an idempotency key, hand it over again; without one, see `kurir list` first.",
            )
        try:
            return submitting.result()
        except StoreError:
            raise refused from None

    def _begin(self, drafts: Sequence[Draft], now: float) -> asyncio.Future[list[Accepted]]:
        submitting = asyncio.ensure_future(self._store.submit(drafts, now))
        self._submitting.add(submitting)
        submitting.add_done_callback(self._heard)
        return submitting

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


def _files(drafts: Sequence[Draft]) -> list[FileRef]:
    return [file for draft in drafts for file in draft.files]
