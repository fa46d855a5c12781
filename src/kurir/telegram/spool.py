"""Files of messages, kept durably by the SHA-256 of their bytes until the last message that needs them is
gone.

A blob lies at `<folder>/<first 2 hex digits>/<sha256>`. What is being written lies in the folder itself as
`new-*`; after a crash that is debris, which `sweep` removes. Several processes may share a folder on one
machine.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Final

from kurir.core.errors import InvalidMessage, StoreError, StoreFull, TooLarge

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows: one process a folder)
    fcntl = None  # type: ignore[assignment]

GRACE: Final = 3600.0
"""Seconds after `add` during which `remove` leaves a blob alone: its message may not be stored yet."""

_CHUNK: Final = 1 << 20  # bytes
_NAME: Final = re.compile(r"[0-9a-f]{64}")
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Source = bytes | bytearray | memoryview | Path | BinaryIO


@dataclass(frozen=True, slots=True)
class Blob:
    """A file in the spool."""

    sha256: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Lack:
    """A file that is not where couriers look. `hopeful`: a setting put right may bring it."""

    why: str
    hopeful: bool


class Spool:
    """A folder of blobs. All blocking work is done in threads; no file is ever held in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def add(self, source: Source, *, name: str, max_bytes: int) -> Blob:
        """Keep the bytes of `source`; durable when it returns, stored once however often it comes.

        The path of a blob of its own is not copied: it is kept as if it came anew. `name` is the field to name
        in errors (`params.photo`). Raises InvalidMessage when the source cannot
        be read, is empty or larger than `max_bytes` (TooLarge); StoreFull, StoreError when it cannot be kept. Then
        nothing of it is left.
        """
        return await asyncio.to_thread(self._add, source, name, max_bytes)

    def path(self, sha256: str) -> Path:
        """Where the blob lies, or would lie. Raises ValueError for what is no SHA-256."""
        if not _NAME.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256 in hexadecimal")
        return self.folder / sha256[:2] / sha256

    async def fetch(self, sha256s: Iterable[str]) -> None:
        """See to it that the blobs lie at their paths, as far as they are kept. Raises StoreError."""

    def lack(self, sha256s: Iterable[str]) -> Lack | None:
        """The first of these that `fetch` did not bring; None where no more is known than that it cannot be read."""
        return None

    async def publish(self, sha256s: Iterable[str]) -> None:
        """See to it that every courier finds the blobs that lie here. Raises StoreError."""

    def may_keep(self, sha256: str) -> bool:
        """False: there is surely no such blob."""
        return self.path(sha256).is_file()

    async def exists(self, sha256: str) -> bool:
        return await asyncio.to_thread(self.path(sha256).is_file)

    async def remove(self, sha256s: Iterable[str], *, grace: float = GRACE) -> int:
        """Remove blobs nobody needs, except those added in the last `grace` seconds; answers how many
        went."""
        return await asyncio.to_thread(self._remove, [self.path(sha256) for sha256 in sha256s], grace)

    async def blobs(self, older_than: float = GRACE) -> list[str]:
        """The blobs (their SHA-256) that nobody added in the last `older_than` seconds."""
        return await asyncio.to_thread(self._blobs, older_than)

    async def sweep(self, older_than: float = GRACE) -> int:
        """Remove what crashed writers left more than `older_than` seconds ago; answers how many files."""
        return await asyncio.to_thread(self._sweep, older_than)

    async def close(self) -> None:
        """Release what is held open."""

    # ---------------------------------------------------------------- in a thread

    def _add(self, source: Source, name: str, max_bytes: int) -> Blob:
        if isinstance(source, bytes | bytearray | memoryview):
            return self._keep(_slices(source), name, max_bytes)
        if isinstance(source, Path):
            if _NAME.fullmatch(source.name) and source == self.path(source.name):
                return self._keep_on(source, name, max_bytes)
            with _reading(name, str(source)):
                file = source.open("rb")
            with file:
                return self._keep(_pieces(file, name), name, max_bytes)
        return self._keep(_pieces(source, name), name, max_bytes)

    def _keep_on(self, path: Path, name: str, max_bytes: int) -> Blob:
        """A blob that is there: nobody removes it within the grace."""
        with self._writing(), self._lock():
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                raise InvalidMessage(name, f"no file {path.name} is kept here", "Upload it again.") from None
            if size > max_bytes:
                raise TooLarge(name, f"is larger than {max_bytes:,} bytes", "Send a smaller file, or a URL.")
            os.utime(path)
        return Blob(path.name, size)

    def _keep(self, pieces: Iterator[bytes | memoryview], name: str, max_bytes: int) -> Blob:
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix="new-", dir=self.folder)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                blob = self._copy(pieces, file, name, max_bytes)
            with self._writing():
                self._publish(Path(temporary), blob)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        return blob

    def _copy(self, pieces: Iterator[bytes | memoryview], file: IO[bytes], name: str, max_bytes: int) -> Blob:
        """Write all pieces and make them durable."""
        digest = hashlib.sha256()
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > max_bytes:
                raise TooLarge(name, f"is larger than {max_bytes:,} bytes", "Send a smaller file, or a URL.")
            digest.update(piece)
            with self._writing():
                _write_all(file, piece)
        if not size:
            raise InvalidMessage(name, "is empty", "Send a file with something in it.")
        with self._writing():
            os.fsync(file.fileno())
        return Blob(digest.hexdigest(), size)

    def _publish(self, temporary: Path, blob: Blob) -> None:
        """Give the file its name, unless it is there already, and make the name durable."""
        final = self.path(blob.sha256)
        with self._lock():
            if not final.parent.is_dir():
                final.parent.mkdir(exist_ok=True)
                _sync_folder(self.folder)
            if final.is_file() and final.stat().st_size == blob.size:
                os.utime(final)
            else:
                temporary.replace(final)
            _sync_folder(final.parent)

    def _remove(self, paths: list[Path], grace: float) -> int:
        removed = 0
        with self._writing(), self._lock():
            for path in paths:
                removed += _remove_older(path, grace)
        return removed

    def _blobs(self, older_than: float) -> list[str]:
        latest = time.time() - older_than
        with self._writing():
            return [path.name for path in self.folder.glob("??/*") if path.stat().st_mtime <= latest]

    def _sweep(self, older_than: float) -> int:
        with self._writing():
            return sum(_remove_older(path, older_than) for path in self.folder.glob("new-*"))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Between "is it there?" and what follows, no process removes or adds."""
        if fcntl is None or not self.folder.is_dir():
            yield
            return
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StoreFull(
                    f"no room for files in {self.folder}",
                    "Free some space there; the message was not accepted.",
                ) from error
            raise StoreError(
                f"files cannot be kept in {self.folder}: {error.strerror}",
                "Let this process create and write that folder.",
            ) from error


@contextmanager
def _reading(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidMessage(
            name,
            f"{what} cannot be read: {error.strerror}",
            "Give the path of a file that this process may read.",
        ) from None
    except ValueError as error:
        raise InvalidMessage(name, f"{what} cannot be read: {error}", "Give an open, binary file.") from None


def _slices(data: bytes | bytearray | memoryview) -> Iterator[bytes | memoryview]:
    view = memoryview(data).cast("B")
    for start in range(0, len(view), _CHUNK):
        yield view[start : start + _CHUNK]


def _pieces(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The file from where it stands to its end."""
    read: Callable[[int], object] = file.read
    what = str(getattr(file, "name", "the file"))
    while True:
        with _reading(name, what):
            piece = read(_CHUNK)
        if not isinstance(piece, bytes | bytearray):
            raise InvalidMessage(name, f"{what} is not open in binary mode", 'Open it with mode "rb".')
        if not piece:
            return
        yield bytes(piece)


def _write_all(file: IO[bytes], piece: bytes | memoryview) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def _remove_older(path: Path, age: float) -> int:
    """Remove the file if it was not touched for `age` seconds; answers 1 if so."""
    with suppress(FileNotFoundError):
        if path.stat().st_mtime <= time.time() - age:
            path.unlink()
            return 1
    return 0


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":  # pragma: no cover
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
