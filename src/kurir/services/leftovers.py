"""Results that the store did not take before their process ended: kept on this machine until a process here settles them.

    stop while the store is away ──> a file ──> the next start, or the end of the trouble ──> store.settle ──> removed

They are settled before anything is adopted. Who took a bot over meanwhile on another machine knows nothing of them: there
they come too late, and the messages are in doubt, as after a crash.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import orjson

from kurir.core.errors import SchemaMismatch, StoreAway, StoreError, StoreFull
from kurir.core.events import Crashed, Event, Fenced, Settled
from kurir.core.message import State
from kurir.ports import Clock, Query, Settlement, Store

from .notation import read, written
from .suppression import Obituaries

PREFIX = ".unsettled-"
TOGETHER = 500  # results settled in one step
LAST_WORD = 1.0  # seconds in which it is told what their suppressions ended
_OF_ALL = (StoreAway, StoreFull, SchemaMismatch)  # nothing can be settled now


def told(settlement: Settlement, kept: bool, now: float) -> Event | None:
    """What listeners hear of a result that the store has taken, or (`kept` False) came too late for."""
    s = settlement
    if not kept:
        return Fenced(s.claim)
    if s.attempt is None and s.state is State.WAITING:
        return None  # handed back
    return Settled(s.claim, s.state, s.reason, s.result, s.due_at, now, s.attempt)


class Leftovers:
    """`folders`: where they may be; written to the first that takes them. Empty: nothing is kept."""

    def __init__(self, folders: Sequence[Path], store: Store, clock: Clock, emit: Callable[[Event], None]) -> None:
        self._folders = folders
        self._store = store
        self._clock = clock
        self._emit = emit
        self._obituaries = Obituaries(store, emit)

    # ---------------------------------------------------------------- the end of a process

    async def keep(self, settlements: Sequence[Settlement]) -> None:
        """Durable when it returns; where they cannot be written down, that is told."""
        if not settlements or not self._folders:
            return
        try:
            await asyncio.to_thread(self._write, settlements)
        except (OSError, TypeError) as error:
            why = f"{len(settlements)} results are forgotten, their messages are in doubt: {error}"
            self._emit(Crashed("keeping results for a store that is away", why))

    def _write(self, settlements: Sequence[Settlement]) -> None:
        text = b"\n".join(orjson.dumps(written(settlement)) for settlement in settlements)
        for folder in self._folders[:-1]:
            try:
                _write_file(folder, text)
            except OSError:
                continue
            return
        _write_file(self._folders[-1], text)

    # ---------------------------------------------------------------- the beginning of another

    async def settle(self) -> None:
        """All that is here. Raises StoreAway, StoreFull, SchemaMismatch while the store takes nothing."""
        for path in await asyncio.to_thread(self._files) if self._folders else ():
            try:
                lines = (await asyncio.to_thread(path.read_bytes)).splitlines()
                settlements = iter([read(orjson.loads(line)) for line in lines])
            except FileNotFoundError:
                continue  # another process was faster
            except (OSError, TypeError, ValueError, LookupError) as error:
                await self._put_away(path, error)
                continue
            try:
                while batch := list(islice(settlements, TOGETHER)):
                    await self._settle(batch)
            except _OF_ALL:
                raise
            except StoreError as error:
                self._tell(f"{error}; they are tried again at the next start")
                continue
            except Exception as error:
                await self._put_away(path, error)
                continue
            await asyncio.to_thread(path.unlink, missing_ok=True)
        await self._obituaries.told(LAST_WORD)

    def _tell(self, why: str) -> None:
        self._emit(Crashed("settling results of an earlier process", why))

    def _files(self) -> list[Path]:
        return sorted(path for folder in self._folders for path in _kept_in(folder))

    async def _settle(self, batch: Sequence[Settlement]) -> None:
        """Only what is in flight still, in the store that it was claimed from."""
        page = await self._store.find(Query(ids=tuple(s.claim.id for s in batch), limit=len(batch)))
        standing = {record.id: record.seq for record in page.items if record.state is State.SENDING}
        open_yet = [s for s in batch if standing.get(s.claim.id) == s.claim.seq]
        if not open_yet:
            return
        now = self._clock.now()
        kept = await self._store.settle(open_yet, now)
        for settlement, ok in zip(open_yet, kept, strict=True):
            if (event := told(settlement, ok, now)) is not None:
                self._emit(event)
        self._obituaries.after([s for s, ok in zip(open_yet, kept, strict=True) if ok], now)

    async def _put_away(self, path: Path, error: Exception) -> None:
        """It would stand in the way at every start."""
        aside = path.with_name(path.name.lstrip("."))
        self._tell(f"{type(error).__name__}: {error}; their messages are in doubt, see {aside}")
        try:
            await asyncio.to_thread(path.replace, aside)
        except OSError:
            return  # it was told, and is tried again at the next start


def _kept_in(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.glob(f"{PREFIX}*")
    except OSError:
        return


def _write_file(folder: Path, text: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(prefix="new-", dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(fresh).replace(folder / f"{PREFIX}{Path(fresh).name.removeprefix('new-')}")
    if os.name != "nt":
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
