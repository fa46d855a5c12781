"""A file on its way from Telegram: taken piece by piece, at the pace of whoever takes it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import StreamReader
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage

from kurir.core.errors import KurirError
from kurir.core.outcome import NoReply

from .faults import fault
from .redact import redact

STALLED: Final = 60.0
"""Seconds for which nobody may ask for the next piece; then the connection is given up."""

PIECE: Final = 64 * 1024
"""Bytes of a piece at most; about thrice as many are held ahead of the taker."""

_AGAIN: Final = "Try again; a file_path is valid for an hour, getFile tells a new one."


class Download:
    """The answer to a request for a file: iterate over it once for its pieces, and close it whatever happens.

    `status`: 200, or Telegram's refusal, whose words are the content then. `content_length`: bytes, None where it is
    not told. What nobody takes is not read from the network either, so a slow taker costs no memory; one who takes
    nothing for STALLED seconds loses the connection. A piece that does not come raises KurirError.
    """

    def __init__(
        self,
        connection: Connection,
        message: RawResponseMessage,
        stream: StreamReader,
        *,
        what: str,
        timeout: float,
        closed: Callable[[], None],
    ) -> None:
        headers = message.headers
        length = headers.get("Content-Length", "")
        self.status: int = message.code
        self.content_type = headers.get("Content-Type", "application/octet-stream")
        encoded = message.compression is not None  # then the length is not that of what we hand on
        self.content_length = int(length) if length.isdecimal() and len(length) < 19 and not encoded else None
        self._connection: Connection | None = connection
        self._stream = stream
        self._what = redact(what)
        self._timeout = timeout  # seconds for the next piece to come
        self._closed = closed
        self._watch: asyncio.TimerHandle | None = None
        self._rest()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._piece()
        if not piece:
            await self.close()
            raise StopAsyncIteration
        return piece

    async def close(self) -> None:
        """Give the connection back; what has not been taken is lost. Harmless to repeat."""
        self._leave(whole=self._stream.at_eof())

    async def _piece(self) -> bytes:
        if self._connection is None:
            if self._stream.at_eof():
                return b""
            raise KurirError(f"download of {self._what} failed: it was given up, nobody took it in time", _AGAIN)
        if self._watch is not None:
            self._watch.cancel()
        try:
            async with asyncio.timeout(self._timeout):
                piece = await self._stream.read(PIECE)
        except BaseException as error:
            self._leave(whole=False)
            if not isinstance(error, Exception):
                raise
            raise failed(self._what, fault(error, sent=True)) from None
        self._rest()
        return piece

    def _rest(self) -> None:
        """Wait for the taker."""
        self._watch = asyncio.get_running_loop().call_later(STALLED, self._leave, False)

    def _leave(self, whole: bool) -> None:
        if self._watch is not None:
            self._watch.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release() if whole else connection.close()
            self._closed()


def failed(file_path: str, break_: NoReply) -> KurirError:
    """What to tell of a download that broke."""
    detail = f": {break_.detail}" if break_.detail else ""
    return KurirError(f"download of {redact(file_path)} failed: {break_.kind}{detail}", _AGAIN)


async def words(download: Download, limit: int) -> bytes:
    """The first `limit` bytes, or a few more."""
    pieces: list[bytes] = []
    async for piece in download:
        pieces.append(piece)
        if sum(map(len, pieces)) >= limit:
            break
    return b"".join(pieces)


async def store(download: Download, dest: Path) -> int:
    """Write all pieces to `dest`; answers the size in bytes."""
    size = 0
    file = await asyncio.to_thread(dest.open, "wb")
    try:
        async for piece in download:
            size += await asyncio.to_thread(file.write, piece)
    finally:
        await asyncio.to_thread(file.close)
    return size


def copy(source: Path, dest: Path) -> int:
    """A local Bot API server keeps its files on this machine's disk. Raises KurirError."""
    try:
        shutil.copyfile(source, dest)
    except OSError as error:
        what = f"{source} cannot be copied: {error.strerror}"
        raise KurirError(what, "Let this process read the Bot API server's folder.") from None
    return dest.stat().st_size
