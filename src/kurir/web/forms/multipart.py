"""multipart/form-data (RFC 7578) as bot libraries write it: fields to memory, files to disk, as they come."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from kurir.telegram.files import InputFile

from . import body, urlencoded
from .errors import BadRequest, not_utf8
from .limits import Limits
from .uploads import BATCH, Upload, Uploads

_MAX_BOUNDARY: Final = 70  # bytes (RFC 2046, 5.1.1)
_OPTION: Final = re.compile(r';\s*([^\s=;]+)\s*=\s*("(?:[^"\\]|\\.)*"(?=\s*(?:;|$))|[^;]*)', re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\])')
_CHARSETS: Final = ("utf-8", "iso-8859-1")
_SILENT: Final = logging.Logger("multipart", logging.CRITICAL)
"""The parser warns of each malformed body; its sender hears of it, and nobody else needs to."""


def boundary(content_type: bytes) -> bytes:
    """The boundary a Content-Type names. Raises BadRequest."""
    start = content_type.lower().find(b"boundary")
    if start < 0:
        raise BadRequest(400, "Bad Request: boundary not found")
    _, equals, value = content_type[start:].partition(b"=")
    if not equals:
        raise BadRequest(400, "Bad Request: boundary value not found")
    value = value.partition(b";")[0].strip()
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = value[1:-1]
    if not value or len(value) > _MAX_BOUNDARY:
        raise BadRequest(400, "Bad Request: boundary too big or empty")
    return value


class Form:
    """A multipart body as it is read. Of a name given twice the first counts, as with the official server.

    `params` are the parts without, `parts` those with a file name: `new-*` in `folder` until `close`. `spent` is
    how many bytes of parameters came before, in the query string.
    """

    def __init__(self, boundary: bytes, folder: Path, limits: Limits, spent: int = 0) -> None:
        self.params: dict[str, str] = {}
        self.parts: dict[str, InputFile] = {}
        self._uploads = Uploads(folder, limits)
        self._limits = limits
        self._spent = spent
        self._count = 0  # of parts
        self._files: list[tuple[_Head, Upload]] = []
        self._ended = False
        self._header_size = 0  # of this part
        self._name = self._value = b""  # of the header that is being read
        self._headers: dict[bytes, bytes] = {}
        self._head: _Head | None = None
        self._upload: Upload | None = None
        self._text = bytearray()
        self._parser = self._make_parser(boundary)

    def _make_parser(self, boundary: bytes) -> MultipartParser:
        """Its own limits lie just above those kept here."""
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=self._limits.header,
            max_header_size=self._limits.header + BATCH,
        )
        parser.logger = _SILENT
        return parser

    async def read(self, receive: body.Receive, first: bytes, more: bool) -> None:
        """Read to the end a body of which `first` was read.

        Raises BadRequest, ClientLeft, StoreFull, StoreError. Then, and when it is cancelled, it is closed.
        """
        try:
            await self._read(receive, first, more)
        except BaseException:
            await self.close()
            raise
        for head, upload in self._files:
            if upload.path is not None:
                self.parts.setdefault(head.name, InputFile(upload.path, head.file_name or None, head.mime))

    async def close(self) -> None:
        """Remove the files. Idempotent."""
        await self._uploads.close()

    async def _read(self, receive: body.Receive, chunk: bytes, more: bool) -> None:
        size = 0
        while True:
            size += len(chunk)
            body.check(size, self._limits.body)
            await self._feed(chunk)
            if not more:
                break
            chunk, more = await body.piece(receive)
        if not self._ended:
            raise BadRequest(400, "Bad Request: form data ends before its last boundary")

    async def _feed(self, chunk: bytes) -> None:
        for start in range(0, len(chunk), BATCH):
            try:
                self._parser.write(chunk[start : start + BATCH])
            except FormParserError as error:
                raise BadRequest(400, f"Bad Request: can't parse form data: {error}") from None
            await self._uploads.flush()

    # ---------------------------------------------------------------- called by the parser

    def _on_part_begin(self) -> None:
        self._count += 1
        if self._count > self._limits.fields:
            raise BadRequest(413, "Request Entity Too Large: too much parameters in form data")
        self._header_size = 0
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._check_headers(end - start)

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_headers(end - start)

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value.strip()
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        if not self._headers:
            raise BadRequest(400, "Bad Request: headers in multipart/form-data are empty")
        self._head = _Head(self._headers)
        if self._head.file_name is not None:
            self._upload = self._uploads.begin()
            self._files.append((self._head, self._upload))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._upload is not None:
            self._upload.add(data[start:end])
        else:
            self._spend(end - start)
            self._text += data[start:end]

    def _on_part_end(self) -> None:
        if self._upload is not None:
            self._upload.complete = True
            self._upload = None
        elif self._head is not None:
            self._add(self._head, bytes(self._text))
            self._text.clear()

    def _on_end(self) -> None:
        self._ended = True

    # ----------------------------------------------------------------

    def _add(self, head: _Head, value: bytes) -> None:
        """A part that is a parameter, or many of them."""
        self._spend(len(head.name))
        try:
            if (head.mime or "").startswith("application/x-www-form-urlencoded"):
                self.params = urlencoded.fields(value) | self.params
            else:
                self.params.setdefault(head.name, value.decode())
        except UnicodeDecodeError:
            raise not_utf8() from None

    def _spend(self, size: int) -> None:
        self._spent += size
        if self._spent > self._limits.params:
            raise BadRequest(413, "Request Entity Too Large: too much parameters in form data")

    def _check_headers(self, size: int) -> None:
        self._header_size += size
        if self._header_size > self._limits.header:
            raise BadRequest(431, "Request Header Fields Too Large: total headers size exceeded")


class _Head:
    """What the headers of a part say. `file_name` is None for a parameter."""

    def __init__(self, headers: dict[bytes, bytes]) -> None:
        disposition = _decoded(headers.get(b"content-disposition", b""))
        if disposition and disposition.partition(";")[0].strip().lower() != "form-data":
            raise BadRequest(400, "Bad Request: expected form-data content disposition")
        options: dict[str, str] = {}
        for key, value in _OPTION.findall(disposition):
            options.setdefault(key.lower(), _unquoted(value.strip()))
        self.name = _extended(options.get("name*")) or options.get("name", "")
        if not self.name:
            raise BadRequest(400, "Bad Request: field name in multipart/form-data not found")
        name = _extended(options.get("filename*"))
        if name is None:
            name = options.get("filename")
        self.file_name = None if name is None else re.split(r"[/\\]", name)[-1]
        self.mime = _decoded(headers.get(b"content-type", b"")) or None


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return _ESCAPED.sub(r"\1", value[1:-1])
    return value


def _extended(value: str | None) -> str | None:
    """The text of `UTF-8''caf%C3%A9` (RFC 8187); None if there is none or it cannot be read."""
    charset, *rest = (value or "").split("'", 2)
    if len(rest) != 2 or charset.lower() not in _CHARSETS:
        return None
    try:
        return unquote(rest[1], charset, "strict")
    except UnicodeDecodeError:
        return None
