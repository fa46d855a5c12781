"""Where files are kept: a folder, a bucket, or the store itself. They are carried to another place one at a time."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kurir.core.errors import StoreError
from kurir.ports import BlobStore, Clock
from kurir.telegram.spool import GRACE, Spool

EVER = 1e12  # Unix seconds later than every file
NO_BOUND = 2**62  # bytes


class Shelf(Protocol):
    """Files by SHA-256. Errors: `StoreError` and its children."""

    async def names(self) -> set[str]:
        """All that are there."""
        ...

    async def fetch(self, sha256: str, folder: Path) -> Path | None:
        """A file with its bytes, perhaps a new one in `folder`; None when it is gone."""
        ...

    async def keep(self, sha256: str, path: Path) -> None:
        """Keep the bytes at `path`; durable when it returns."""


class FolderShelf:
    """A folder of files."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    async def names(self) -> set[str]:
        return set(await self._spool.blobs(older_than=-GRACE))

    async def fetch(self, sha256: str, folder: Path) -> Path | None:
        return self._spool.path(sha256) if await self._spool.exists(sha256) else None

    async def keep(self, sha256: str, path: Path) -> None:
        await self._spool.add(path, name="file", max_bytes=NO_BOUND)


class StoreShelf:
    """The store itself, or one for files alone."""

    def __init__(self, store: BlobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def names(self) -> set[str]:
        return set(await self._store.blobs(EVER))

    async def fetch(self, sha256: str, folder: Path) -> Path | None:
        path = folder / sha256
        try:
            return path if await self._store.get_blob(sha256, path) else None
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written: {error.strerror}", "Free some space, or set TMPDIR."
            ) from error

    async def keep(self, sha256: str, path: Path) -> None:
        await self._store.put_blob(sha256, path, self._clock.now())


async def carry_file(sha256: str, source: Shelf, target: Shelf, folder: Path) -> bool:
    """One file; False when it is gone from the source. Raises StoreError when its bytes are not what its name says."""
    path = await source.fetch(sha256, folder)
    if path is None:
        return False
    try:
        if await asyncio.to_thread(_sha256, path) != sha256:
            raise StoreError(
                f"the file {sha256} in the source is damaged", "Cancel the messages that need it, or bring it back."
            )
        await target.keep(sha256, path)
    finally:
        if path.parent == folder:
            await asyncio.to_thread(path.unlink)
    return True


async def carry_files(source: Shelf, target: Shelf, tell: Callable[[], None]) -> tuple[int, tuple[str, ...]]:
    """All that the target has not, telling of each; answers how many it has then, and which of the source's it has not."""
    there = await target.names()
    with tempfile.TemporaryDirectory(prefix="kurir-move-") as folder:
        for sha256 in sorted(await source.names() - there):
            await carry_file(sha256, source, target, Path(folder))
            tell()
    there = await target.names()
    return len(there), tuple(sorted(await source.names() - there))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
