"""The files of a request on their way to disk: in few large writes, in threads, and gone when it is over."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from kurir.core.errors import StoreError, StoreFull

from .errors import BadRequest
from .limits import Limits

BATCH: Final = 1 << 18
"""Bytes of a file kept in memory before they are written."""

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Upload:
    """One file: bytes are added at once and written by `Uploads.flush`."""

    def __init__(self, limit: int) -> None:
        self.path: Path | None = None
        self.complete = False
        self._limit = limit
        self._size = 0
        self._buffer = bytearray()
        self._handle: int | None = None

    @property
    def due(self) -> bool:
        return self.complete or len(self._buffer) >= BATCH

    def add(self, piece: bytes) -> None:
        """Raises BadRequest when the file becomes too large."""
        self._size += len(piece)
        if self._size > self._limit:
            raise BadRequest(413, f"Request Entity Too Large: file of size {self._size} is too big to be uploaded")
        self._buffer += piece

    def write(self, folder: Path) -> None:
        """Write what was added; close the file if it is complete."""
        if self._handle is None:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle, path = tempfile.mkstemp(prefix="new-", dir=folder)
            self.path = Path(path)
        view, self._buffer = memoryview(self._buffer), bytearray()
        while view:
            view = view[os.write(self._handle, view) :]
        if self.complete:
            self._close()

    def remove(self) -> None:
        self._close()
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink()

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


class Uploads:
    """The files of one request, as `new-*` in `folder`, which is made when the first one comes. Whoever makes
    one closes it."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._all: list[Upload] = []
        self._open: list[Upload] = []

    def begin(self) -> Upload:
        """A new file. Raises BadRequest when there are too many."""
        if len(self._all) == self._limits.files:
            raise BadRequest(413, "Request Entity Too Large: too much files attached")
        upload = Upload(self._limits.file)
        self._all.append(upload)
        self._open.append(upload)
        return upload

    async def flush(self) -> None:
        """Write the files that are complete, and those of which a batch is there. Raises StoreFull, StoreError."""
        due = [upload for upload in self._open if upload.due]
        if due:
            await _in_thread(self._write, due)
            self._open = [upload for upload in self._open if not upload.complete]

    async def close(self) -> None:
        """Remove all files. Idempotent."""
        uploads, self._all, self._open = self._all, [], []
        if any(upload.path for upload in uploads):
            await _in_thread(_remove, uploads)

    def _write(self, uploads: list[Upload]) -> None:
        try:
            for upload in uploads:
                upload.write(self._folder)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StoreFull(
                    f"no room for files in {self._folder}",
                    "Free some space there; the message was not accepted.",
                ) from error
            raise StoreError(
                f"files cannot be kept in {self._folder}: {error.strerror}",
                "Let this process create and write that folder.",
            ) from error


def _remove(uploads: list[Upload]) -> None:
    for upload in uploads:
        upload.remove()


async def _in_thread(work: Callable[..., None], *args: Any) -> None:
    """Do it in a thread and return only when it is done, even if cancelled: a file that a thread still writes
    cannot be removed for good."""
    done = asyncio.get_running_loop().run_in_executor(None, work, *args)
    try:
        await asyncio.shield(done)
    except asyncio.CancelledError:
        while not done.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([done])
        if not done.cancelled():
            done.exception()
        raise
