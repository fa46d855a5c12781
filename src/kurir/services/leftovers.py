"""Results that the store did not take before their process ended: kept on this machine until a process here settles them.

    stop while the store is away ──> a file ──> the next start, or the next who takes a bot ──> store.settle ──> removed

They are settled before anything is adopted. Who took a bot over meanwhile on another machine knows nothing of them: there
they come too late, and the messages are in doubt, as after a crash. A file belongs to the store that knows its messages:
processes with other stores leave it alone.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from kurir.core.errors import OF_ALL
from kurir.core.events import Event, Fenced, Settled, Unsettled
from kurir.core.message import State
from kurir.ports import Clock, Query, Settlement, Store
from kurir.telegram.shared_spool import SharedSpool, cache_folder
from kurir.telegram.spool import Spool

from .notation import line_of, parsed
from .suppression import Obituaries

PREFIX = ".unsettled-"
TOGETHER = 500  # results settled in one step
LAST_WORD = 1.0  # seconds in which it is told what their suppressions ended
READS = 5  # tries to read a file; between them ...
READ_AGAIN = 0.2  # ... seconds
KEEPING = "keeping results for a store that is away"
SETTLING = "settling results of an earlier process"


def told(settlement: Settlement, kept: bool, now: float) -> Event | None:
    """What listeners hear of a result that the store has taken, or (`kept` False) came too late for."""
    s = settlement
    if not kept:
        return Fenced(s.claim)
    if s.attempt is None and s.state is State.WAITING:
        return None  # handed back
    return Settled(s.claim, s.state, s.reason, s.result, s.due_at, now, s.attempt)


def folders_of(spool: Path | None, files: Spool | None) -> list[Path]:
    """Where they are kept: beside the journal, in the folder of files, in this user's cache. A folder of copies is named
    after its store's URL, which may change (another password, another host): there is one place for all stores' results."""
    folders = [] if spool is None else [spool]
    if files is not None:
        folders.append(cache_folder("results") if isinstance(files, SharedSpool) else files.folder)
    return folders


class Leftovers:
    """`folders`: where they may be; written to the first that takes them. Empty: nothing is kept."""

    def __init__(self, folders: Sequence[Path], store: Store, clock: Clock, emit: Callable[[Event], None]) -> None:
        self._folders = folders
        self._store = store
        self._clock = clock
        self._emit = emit
        self._obituaries = Obituaries(store, emit)
        self._own = f"{PREFIX}{secrets.token_hex(8)}"  # the name of our file
        self._kept: list[Settlement] | None = []  # what lies in it; None: not all that should
        self._writing = asyncio.Lock()
        self._asked = 0  # times that something was to be written ...
        self._written = 0  # ... and the last of them that was
        self._pen = threading.Lock()
        self._foreign: set[tuple[Path, int]] = set()  # files of other stores, with their times: they are read once
        self._told: set[str] = set()

    # ---------------------------------------------------------------- the end of a process

    async def keep(self, settlements: Sequence[Settlement]) -> None:
        """These are what is unsettled now, in place of what was given before. Durable when it returns; what cannot be
        written down is told, and raises nothing."""
        async with self._writing:
            if not self._folders or list(settlements) == self._kept:
                return
            self._asked += 1
            try:
                troubles = await asyncio.to_thread(self._write, tuple(settlements), self._asked)
            except Exception as error:
                troubles = [f"{type(error).__name__}: {error}"]
            self._kept = None if troubles else list(settlements)
            self._complain(troubles)

    def keep_at_once(self, settlements: Sequence[Settlement]) -> None:
        """As `keep`, for who may not wait any more."""
        if self._folders:
            self._asked += 1
            self._complain(self._write(tuple(settlements), self._asked))

    def _complain(self, troubles: Sequence[str]) -> None:
        for why in troubles:
            self._tell(KEEPING, why)

    def _write(self, settlements: Sequence[Settlement], number: int) -> list[str]:
        """Answers what went wrong. In whatever thread; the newest wins."""
        lines, troubles = [], []
        for settlement in settlements:
            try:
                lines.append(line_of(settlement))
            except Exception as error:
                troubles.append(f"the result of {settlement.claim.id} is forgotten, it is in doubt: {error}")
        with self._pen:
            if number < self._written:
                return []
            self._written = number
            if not lines:
                self._remove_own()
                return troubles
            failed = self._write_lines(lines)
        if failed is not None:
            troubles.append(f"{len(lines)} results are forgotten, their messages are in doubt: {failed}")
        return troubles

    def _write_lines(self, lines: Sequence[bytes]) -> Exception | None:
        failed: Exception | None = None
        for folder in self._folders:
            try:
                _write_file(folder, self._own, b"\n".join(lines))
            except Exception as error:
                failed = error
                continue
            return None
        return failed

    def _remove_own(self) -> None:
        """All was settled in the end; a file that stays does no harm."""
        for folder in self._folders:
            with suppress(OSError, ValueError):
                (folder / self._own).unlink(missing_ok=True)

    # ---------------------------------------------------------------- the beginning of another

    async def settle(self) -> None:
        """All that is here. Raises StoreAway, StoreFull, SchemaMismatch while the store takes nothing."""
        if not self._folders:
            return
        self._kept = []
        for path in await asyncio.to_thread(self._files):
            if (found := await self._read(path)) is not None:
                await self._settle_file(path, *found)
        await self._obituaries.told(LAST_WORD)

    def _files(self) -> list[Path]:
        return sorted({path for folder in self._folders for path in _kept_in(folder)})

    async def _read(self, path: Path) -> tuple[int, list[Settlement], Exception | None] | None:
        """Its time, what it says, and why not all of it can be understood. None: it is not there, or cannot be read now:
        that may pass."""
        error: OSError | None = None
        for _ in range(READS):
            try:
                return await asyncio.to_thread(self._understand, path)
            except FileNotFoundError:
                return None  # another process was faster
            except OSError as trouble:
                error = trouble
            if isinstance(error, PermissionError):
                break  # another user's
            await self._clock.sleep(READ_AGAIN)
        self._tell(SETTLING, f"{path} cannot be read now, and is tried again later: {error}")
        return None

    def _understand(self, path: Path) -> tuple[int, list[Settlement], Exception | None] | None:
        """In a thread. Raises OSError."""
        written_at = path.stat().st_mtime_ns
        if (path, written_at) in self._foreign:
            return None
        settlements, strange = [], None
        for line in path.read_bytes().splitlines():
            try:
                settlements.append(parsed(line))
            except Exception as error:
                strange = error
        return written_at, settlements, strange

    async def _settle_file(
        self, path: Path, written_at: int, settlements: Sequence[Settlement], strange: Exception | None
    ) -> None:
        ours, done = not settlements, True
        for start in range(0, len(settlements), TOGETHER):
            try:
                known, taken = await self._settle(settlements[start : start + TOGETHER])
            except OF_ALL:
                raise
            except Exception as error:
                self._tell(SETTLING, f"{type(error).__name__}: {error}; {path} is tried again later")
                return
            ours, done = ours or known, done and taken
        if not ours:
            self._foreign.add((path, written_at))
        elif strange is not None:
            await self._put_away(path, strange)
        elif done:
            await asyncio.to_thread(_remove, path, written_at)

    async def _settle(self, batch: Sequence[Settlement]) -> tuple[bool, bool]:
        """Only what is in flight still, in the store that it was claimed from. Answers whether the store knows any of these
        messages, and whether nothing of them has to be tried again."""
        page = await self._store.find(Query(ids=tuple(s.claim.id for s in batch), limit=len(batch)))
        standing = {record.id: record.seq for record in page.items if record.state is State.SENDING}
        open_yet = [s for s in batch if standing.get(s.claim.id) == s.claim.seq]
        return bool(page.items), not open_yet or await self._take(open_yet)

    async def _take(self, settlements: Sequence[Settlement]) -> bool:
        """One that the store refuses costs the others nothing. What comes too late was settled by somebody else."""
        now = self._clock.now()
        try:
            kept = await self._store.settle(settlements, now)
        except OF_ALL:
            raise
        except Exception as error:
            if len(settlements) == 1:
                id = settlements[0].claim.id
                self._tell(SETTLING, f"the store refuses the result of {id}, it is in doubt: {error}")
                return False
            half = len(settlements) // 2
            first = await self._take(settlements[:half])
            return await self._take(settlements[half:]) and first
        stored = [s for s, ok in zip(settlements, kept, strict=True) if ok]
        for settlement in stored:
            if (event := told(settlement, True, now)) is not None:
                self._emit(event)
        self._obituaries.after(stored, now)
        return True

    async def _put_away(self, path: Path, error: Exception) -> None:
        """It would stand in the way at every start."""
        aside = path.with_name(path.name.lstrip("."))
        self._tell(SETTLING, f"{type(error).__name__}: {error}; what is not understood is in doubt, see {aside}")
        with suppress(OSError):  # it was told, and is tried again at the next start
            await asyncio.to_thread(path.replace, aside)

    def _tell(self, step: str, why: str) -> None:
        """Once."""
        if why not in self._told:
            self._told.add(why)
            self._emit(Unsettled(step, why))


def _kept_in(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.glob(f"{PREFIX}*")
    except OSError:
        return


def _remove(path: Path, written_at: int) -> None:
    """Unless its process has written more since."""
    with suppress(OSError):
        if path.stat().st_mtime_ns == written_at:
            path.unlink(missing_ok=True)


def _write_file(folder: Path, name: str, text: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(prefix="new-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(fresh).replace(folder / name)
    except BaseException:
        with suppress(OSError):
            Path(fresh).unlink(missing_ok=True)
        raise
    if os.name != "nt":
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
