"""A call with files as multipart/form-data (RFC 7578), streamed from disk in constant memory."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any, Final

import orjson

from kurir.ports import Part

from .faults import UnreadableFile

CHUNK: Final = 256 * 1024  # bytes read from disk at a time


class Form:
    """One multipart body, ready to be written: its files are open and as large as announced."""

    def __init__(self, params: Mapping[str, Any], parts: Sequence[Part]) -> None:
        self._boundary = secrets.token_hex(16)
        self._fields = b"".join(self._field(name, value) for name, value in _texts(params, parts))
        self._parts = [(part, self._header(part)) for part in parts]
        self._end = f"--{self._boundary}--\r\n".encode()
        self._open = ExitStack()
        self._files: list[IO[bytes]] = []

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        files = sum(len(header) + part.size + 2 for part, header in self._parts)
        return len(self._fields) + files + len(self._end)

    async def open(self) -> None:
        """Open all files before anything is sent. Raises UnreadableFile."""
        await asyncio.to_thread(self._open_all)

    async def close(self) -> None:
        await asyncio.to_thread(self._open.close)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, piece by piece. Raises UnreadableFile when a file turns out shorter than it was."""
        yield self._fields
        for (part, header), file in zip(self._parts, self._files, strict=True):
            yield header
            left = part.size
            while left:
                piece = await asyncio.to_thread(_read, part, file, min(CHUNK, left))
                left -= len(piece)
                yield piece
            yield b"\r\n"
        yield self._end

    def _open_all(self) -> None:
        for part, _ in self._parts:
            try:
                file = self._open.enter_context(part.path.open("rb"))
                size = os.fstat(file.fileno()).st_size
            except OSError as error:
                raise UnreadableFile(f"{part.field}: {part.path}: {error.strerror}") from None
            if size != part.size:
                raise UnreadableFile(f"{part.field}: {part.path} has {size} bytes and not {part.size}")
            self._files.append(file)

    def _field(self, name: str, value: bytes) -> bytes:
        head = f'--{self._boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'
        return head.encode() + value + b"\r\n"

    def _header(self, part: Part) -> bytes:
        mime = "".join(c for c in part.mime if c.isprintable()) or "application/octet-stream"
        names = f'name="{_quoted(part.field)}"; filename="{_quoted(part.name)}"'
        return (
            f"--{self._boundary}\r\nContent-Disposition: form-data; {names}\r\nContent-Type: {mime}\r\n\r\n"
        ).encode()


def _texts(params: Mapping[str, Any], parts: Sequence[Part]) -> list[tuple[str, bytes]]:
    """The parameters as form fields. Null means absent; `photo: attach://photo` is what the part itself
    says."""
    own = {(part.field, f"attach://{part.field}") for part in parts}
    return [
        (name, value.encode() if isinstance(value, str) else orjson.dumps(value))
        for name, value in params.items()
        if value is not None and not (isinstance(value, str) and (name, value) in own)
    ]


def _read(part: Part, file: IO[bytes], size: int) -> bytes:
    try:
        piece = file.read(size)
    except OSError as error:
        raise UnreadableFile(f"{part.field}: {part.path}: {error.strerror}") from None
    if not piece:
        raise UnreadableFile(f"{part.field}: {part.path} became shorter while it was sent")
    return piece


def _quoted(name: str) -> str:
    """A name inside a quoted string, escaped as browsers do (WHATWG HTML, multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").replace("\0", "")
