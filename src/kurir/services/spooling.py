"""The local journal at work: the way in while the store is away, and the loop that forwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from kurir.core.errors import InvalidSetting, NotFound, StoreAway, StoreError
from kurir.core.events import Altered, Event
from kurir.ports import Clock, Store
from kurir.stores.journal import Journal
from kurir.stores.sqlite import SqliteStore
from kurir.telegram.shared_spool import SharedSpool
from kurir.telegram.spool import Spool

from .detour import Detour
from .forwarding import Forwarding
from .shelter import Shelter

OTHERS = 30.0  # seconds that another process has to forward what it is forwarding
LOOK_EVERY = 0.2  # seconds between looks at whether it has
BUSY = ("another process forwards, and is not done yet", "Look again with `kurir spool`.")
LAST_CHANCE = 1.0  # seconds in which what waits is forwarded at the end, if the store takes it


def journal_of(path: Path | None, megabytes: int, store: Store) -> Journal | None:
    """The journal at `path`. Raises InvalidSetting."""
    if path is None:
        return None
    if path.is_dir():
        raise InvalidSetting("KURIR_SPOOL", f"{path} is a folder", f"Name a file in it: {path / 'kurir-spool.db'}.")
    if isinstance(store, SqliteStore) and store.path.resolve() == path.resolve():
        raise InvalidSetting("KURIR_SPOOL", f"{path} is the store itself", "Name another file.")
    return Journal(path, limit=megabytes * 1_000_000)


class Spooling:
    """Of one Kurir. `detour` stands in for the store where messages are handed over and waited for; `run` forwards. `files`:
    where couriers look for files."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        clock: Clock,
        rng: random.Random,
        emit: Callable[[Event], None],
        files: Spool | None,
    ) -> None:
        self.journal = journal
        self._clock = clock
        self._emit = emit
        kept = Spool(journal.path.with_name(f"{journal.path.name}.files"))
        self.folder = kept.folder  # beside the journal
        if isinstance(files, SharedSpool):
            files.shelter = kept
        shelter = Shelter(kept, files)
        self._forwarding = Forwarding(journal, store, clock, rng, emit, shelter)
        self.detour = Detour(store, journal, shelter, emit, self._forwarding)

    async def open(self) -> None:
        """See `Journal.open`."""
        await self.journal.open()

    async def run(self) -> None:
        """Until cancelled."""
        await self._forwarding.run()

    async def forward(self) -> None:
        """Forward all there is, what was set aside too. Raises StoreAway when that cannot be done now."""
        await self.journal.unstick()
        until = self._clock.now() + OTHERS
        while not await self._forwarding.drain() and self.journal.holds():
            if self._clock.now() >= until:
                raise StoreAway(*BUSY)
            await self._clock.sleep(LOOK_EVERY)

    async def drop(self, ids: Sequence[str]) -> None:
        """Give messages of the journal up: all of them, or none. Needs no store. (One that a process was about to remove,
        and died, is in the store already.) Raises NotFound, StoreAway while another process forwards."""
        until = self._clock.now() + OTHERS
        while not await self._dropped(tuple(dict.fromkeys(ids))):
            if self._clock.now() >= until:
                raise StoreAway(*BUSY)
            await self._clock.sleep(LOOK_EVERY)

    async def _dropped(self, ids: tuple[str, ...]) -> bool:
        """False: another process forwards at the moment."""
        with self.journal.forwarding() as ours:
            if not ours:
                return False
            entries = await self.journal.find(ids)
            if missing := set(ids) - {entry.draft.id for entry in entries}:
                raise NotFound(f"message {min(missing)} is not in the spool {self.journal.path}", "See `kurir spool`.")
            await self.journal.remove([entry.pos for entry in entries])
        now = self._clock.now()
        for entry in entries:
            self._emit(Altered((entry.draft.id,), None, now, entry.draft.bot, "dropped from the spool"))
        return True

    async def close(self) -> None:
        """After `run` was cancelled. A process that lives but shortly forwards here what waits, its own and others'."""
        if self.journal.holds():
            with contextlib.suppress(TimeoutError, StoreError):
                async with asyncio.timeout(LAST_CHANCE):
                    await self._forwarding.drain()
        await self.journal.close()

    async def check_in_journal(self, id: str) -> None:
        """Raises StoreAway for a message that cannot be changed because it is not in the store yet."""
        entries = await self.journal.find((id,)) if self.journal.keeps() else ()
        for entry in entries:
            if entry.stuck is not None:
                raise StoreAway(
                    f"message {id} is spooled, and the store does not take it: {entry.stuck}",
                    f"`kurir spool --drop {id}` on that machine gives it up.",
                )
            raise StoreAway(
                f"message {id} is spooled: it can be changed once it is in the store",
                "Ask again when the store is back.",
            )
