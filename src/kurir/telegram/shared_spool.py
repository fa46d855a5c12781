"""Files of messages kept in the store, or in one for files alone, for couriers on other machines; a folder of this machine
holds copies.

The copies may be lost at any time: what counts is in the store. Several processes of one machine may share the folder. What
couriers leave unsettled is kept in another one of the user's cache (`services.leftovers`), and may not be lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from kurir.core.errors import SchemaMismatch, StoreError
from kurir.ports import BlobStore, Clock

from .spool import GRACE, Blob, Lack, Source, Spool

ROOM: Final = 2_000_000_000
"""Bytes of copies, beyond which the ones unused for longest go."""
IN_USE: Final = 600.0
"""Seconds after its last use during which a copy stays whatever the room: a call may be about to read it."""
MARKED: Final = 60.0
"""Seconds for which a blob that was put into the store just now is known to be marked as used; far below GRACE."""

_MOST_MARKS: Final = 10_000
_CHUNK: Final = 1 << 20  # bytes


class SharedSpool(Spool):
    """A spool whose blobs are in the store, or in one for files alone that it is to `close`, called `where`. `clock` is the
    message store's, as grace and use are told by it."""

    def __init__(
        self,
        folder: Path,
        store: BlobStore,
        clock: Clock,
        room: int = ROOM,
        close: Callable[[], Awaitable[None]] | None = None,
        where: str = "the store",
    ) -> None:
        super().__init__(folder)
        self._store = store
        self._close = close
        self._where = where
        self._clock = clock
        self.shelter: Spool | None = None  # where files are kept that the store could not take
        self._room = room
        self._grown = room  # bytes since the copies were looked through; the first one looks
        self._marked: dict[str, float] = {}  # when a blob was put into the store last
        self._damaged: set[str] = set()  # what the store gave with other bytes, when it was asked last
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def add(self, source: Source, *, name: str, max_bytes: int) -> Blob:
        """As `Spool.add`; in the store when it returns, or, while that is away, in the `shelter` if there is one."""
        if isinstance(source, Path) and self._is_own(source):
            await self.fetch([source.name])
        blob = await super().add(source, name=name, max_bytes=max_bytes)
        try:
            await self.publish([blob.sha256])
        except StoreError as error:
            if self.shelter is None or isinstance(error, SchemaMismatch):
                raise
            await self.shelter.add(self.path(blob.sha256), name=name, max_bytes=max_bytes)
        return blob

    async def publish(self, sha256s: Iterable[str]) -> None:
        for sha256 in sha256s:
            now = self._clock.now()
            if 0.0 <= now - self._marked.get(sha256, -MARKED) < MARKED:
                continue
            with self._writing():
                await self._store.put_blob(sha256, self.path(sha256), now)
            if len(self._marked) >= _MOST_MARKS:
                self._marked.clear()
            self._marked[sha256] = now
            await self._has_grown(self.path(sha256).stat().st_size)

    async def fetch(self, sha256s: Iterable[str]) -> None:
        """Copy blobs that are not here from the store. Raises StoreError."""
        for sha256 in dict.fromkeys(sha256s):
            lock = self._locks.setdefault(sha256, asyncio.Lock())
            async with lock:
                if not await asyncio.to_thread(_used, self.path(sha256)):
                    await self._copy_of(sha256)

    def lack(self, sha256s: Iterable[str]) -> Lack | None:
        for sha256 in sha256s:
            if not self.path(sha256).is_file():
                if sha256 in self._damaged:
                    return Lack(f"the file {sha256} in {self._where} is damaged", self._apart)
                check = "; check KURIR_FILES" if self._apart else ""
                return Lack(f"{self._where} has no file {sha256}{check}", self._apart)
        return None

    def may_keep(self, sha256: str) -> bool:
        return True  # the store knows

    async def exists(self, sha256: str) -> bool:
        await self.fetch([sha256])
        return await super().exists(sha256)

    async def remove(self, sha256s: Iterable[str], *, grace: float = GRACE) -> int:
        names = list(sha256s)
        for name in names:
            self._marked.pop(name, None)
        removed = await self._store.drop_blobs(names, self._clock.now() - grace)
        await super().remove(names, grace=max(grace, IN_USE))
        return removed

    async def blobs(self, older_than: float = GRACE) -> list[str]:
        return await self._store.blobs(self._clock.now() - older_than)

    async def sweep(self, older_than: float = GRACE) -> int:
        """As `Spool.sweep`; what was left unfinished in the store and copies beyond the room go as well."""
        swept = await super().sweep(older_than)
        await self._store.drop_blobs([], self._clock.now() - older_than)
        await asyncio.to_thread(self._trim)
        return swept

    async def close(self) -> None:
        if self._close is not None:
            await self._close()

    @property
    def _apart(self) -> bool:
        """Files are somewhere else than messages are."""
        return self._close is not None

    async def _copy_of(self, sha256: str) -> None:
        """Nothing comes of it if neither the shelter nor the store has such a blob, or that has other bytes by its name."""
        if self.shelter is not None and await self.shelter.exists(sha256):
            await super().add(self.shelter.path(sha256), name=sha256, max_bytes=2**62)
            return
        temporary = await asyncio.to_thread(self._temporary)
        try:
            with self._writing():  # whoever writes the copy
                there = await self._store.get_blob(sha256, temporary)
            self._damaged.discard(sha256)
            if there:
                size = await asyncio.to_thread(self._take, temporary, sha256)
                await self._has_grown(size)
        finally:
            with suppress(OSError):  # then it is debris
                await asyncio.to_thread(temporary.unlink, missing_ok=True)

    async def _has_grown(self, size: int) -> None:
        self._grown += size
        if self._grown > self._room // 8:
            self._grown = 0
            await asyncio.to_thread(self._trim)

    # ---------------------------------------------------------------- in a thread

    def _is_own(self, source: Path) -> bool:
        try:
            return source == self.path(source.name)
        except ValueError:
            return False

    def _temporary(self) -> Path:
        with self._writing():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, path = tempfile.mkstemp(prefix="new-", dir=self.folder)
            os.close(handle)
        return Path(path)

    def _take(self, temporary: Path, sha256: str) -> int:
        """Give the copy its name, if it is what it should be; answers its size."""
        digest = hashlib.sha256()
        with self._writing():
            with temporary.open("rb") as file:
                while piece := file.read(_CHUNK):
                    digest.update(piece)
                size = file.tell()
            if digest.hexdigest() == sha256:
                self.path(sha256).parent.mkdir(exist_ok=True)
                temporary.replace(self.path(sha256))
            elif len(self._damaged) < _MOST_MARKS:
                self._damaged.add(sha256)
        return size

    def _trim(self) -> None:
        """Remove the copies unused for longest, down to the room."""
        with self._writing(), self._lock():
            copies = []
            for path in self.folder.glob("??/*"):
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    copies.append((stat.st_mtime, stat.st_size, path))
            total = sum(size for _, size, _ in copies)
            unused = time.time() - IN_USE
            for used_at, size, path in sorted(copies):
                if total <= self._room or used_at > unused:
                    break
                path.unlink(missing_ok=True)
                total -= size


def _used(path: Path) -> bool:
    """Note that the copy is used now, where that may be noted; False if there is none."""
    try:
        os.utime(path)
    except OSError:  # none, or on a disk that is full or only to be read
        return path.is_file()
    return True


def cache_folder(store: str) -> Path:
    """Where this user's copies of the files of a store (by its URL) go: a folder that nobody else can read."""
    name = hashlib.sha256(store.encode()).hexdigest()[:16]
    for base in _bases():
        folder = base / name
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.name == "nt" or folder.stat().st_uid == os.geteuid():
                return folder
    return Path(tempfile.mkdtemp(prefix="kurir-"))


def _bases() -> list[Path]:
    """The user's cache, where there is one to be written; else the folder for temporary files."""
    user = "" if os.name == "nt" else f"-{os.geteuid()}"
    temporary = Path(tempfile.gettempdir()) / f"kurir{user}"
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        home = Path(given) if given else Path.home() / ".cache"
    except RuntimeError:  # this user has no home
        return [temporary]
    return [home / "kurir", temporary]
