"""Files over REST: uploaded with a message, or once by themselves and then named in any number of messages.

A file that is kept is named `kurir-file:<sha256>/<name>` where a parameter takes a file; no `file_id` and no URL begins
so. One that no message needs an hour after its upload, or its last use, is removed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import orjson

from kurir.core.errors import InvalidMessage, TooLarge
from kurir.message import Message
from kurir.telegram.files import ATTACH, CLOUD_LIMIT, LOCAL_LIMIT, InputFile
from kurir.telegram.spool import Spool
from kurir.web.forms.errors import BadRequest, ClientLeft
from kurir.web.forms.limits import Limits
from kurir.web.forms.multipart import Form, boundary

from .answers import Reply, reply
from .asked import Asked, Left, Malformed, Unsupported
from .describe import SEND, Operation, answer, describe, ref

KEPT = "kurir-file:"
MARKS = (b"kurir-file:", b"attach:")  # bytes of a body that may name files (PHP writes attach:\/\/)
ALBUM = 10  # files in one request at most, each as large as Telegram takes it
MOST_FILES = 100  # in one request
MOST_PARTS = 110
_KEPT = re.compile(r"kurir-file:([0-9a-f]{64})(?:/(.*))?", re.DOTALL)
_WORDS = frozenset({"text", "caption", "question", "title", "description", "explanation"})  # never files

Find = Callable[[str, str], Any]  # (reference, where) -> what stands in its place


@dataclass(frozen=True, slots=True)
class Desk:
    """Where files are handed in. `limit`: bytes of one file."""

    spool: Spool | None
    limit: int
    body: int  # bytes of a JSON part

    @property
    def most(self) -> int:
        """Bytes of one request."""
        return ALBUM * self.limit + self.body

    # ---------------------------------------------------------------- in a message

    def resolve(self, message: Message, where: str, parts: Mapping[str, InputFile]) -> Message:
        """The message with its references replaced by files. Raises InvalidMessage for one that leads nowhere."""

        def find(reference: str, at: str) -> Any:
            if reference.startswith(ATTACH):
                name = reference.removeprefix(ATTACH)
                if name not in parts:
                    raise InvalidMessage(at, f"there is no part {name[:80]!r}", "Send it in the same multipart body.")
                return parts[name]
            return self._kept(reference, at)

        params = {name: walk(value, name, f"{where}params.{name}", find) for name, value in message.params.items()}
        return replace(message, params=params)

    def _kept(self, reference: str, where: str) -> InputFile:
        match = _KEPT.fullmatch(reference)
        if match is None:
            raise InvalidMessage(where, "is no file of ours", f"Write {KEPT}<id>, as POST /v1/files answered.")
        spool = self._need(where)
        path = spool.path(match[1])
        if not spool.may_keep(match[1]):
            raise InvalidMessage(where, f"no file {match[1]} is kept here (any more)", "Upload it again.")
        return InputFile(path, unquote(match[2] or "")[:255] or "file")

    def _need(self, where: str) -> Spool:
        if self.spool is None:
            raise InvalidMessage(where, "is a file, and this Kurir has no file spool", "Set KURIR_FILES to a folder.")
        return self.spool

    # ---------------------------------------------------------------- uploads

    async def keep(self, name: str, file: InputFile) -> tuple[InputFile, int]:
        """A file of a request, durable; and its size in bytes. Raises TooLarge, InvalidMessage, StoreError."""
        spool = self._need(name)
        blob = await spool.add(file.source, name=name, max_bytes=self.limit)
        return InputFile(spool.path(blob.sha256), (file.name or "file")[:255], file.mime), blob.size

    @asynccontextmanager
    async def parts(self, asked: Asked) -> AsyncIterator[tuple[dict[str, str], dict[str, InputFile]]]:
        """The parts of a request by name: texts, and files, which are on disk until the end. Raises Malformed, TooLarge,
        Unsupported, StoreError, Left."""
        asked.check_head(self.most)
        limits = Limits(params=self.body, file=self.limit, files=MOST_FILES, fields=MOST_PARTS, body=self.most)
        folder = self.spool.folder if self.spool is not None else Path(tempfile.gettempdir())
        try:
            form = Form(boundary(asked.header(b"content-type") or b""), folder, limits)
            await form.read(asked.receive, b"", True)
        except BadRequest as error:
            what = error.description.partition(": ")[2] or error.description
            if error.code == 413:
                raise TooLarge("body", what, f"A file may have {self.limit:,} bytes.") from None
            remedy = "Let a library write it, with its boundary in the Content-Type header."
            raise Malformed(f"the multipart body cannot be read: {what}", remedy) from None
        except ClientLeft:
            raise Left from None
        try:
            yield form.params, form.parts
        finally:
            await form.close()

    async def upload(self, asked: Asked) -> Reply:
        """POST /v1/files."""
        if asked.media() != b"multipart/form-data":
            raise Unsupported("the body is no multipart/form-data", "For example: curl -F file=@cat.jpg .../v1/files")
        async with self.parts(asked) as (texts, uploads):
            if len(uploads) != 1 or texts:
                raise InvalidMessage("file", "is to be the one part, with a file name", "curl -F file=@cat.jpg")
            ((name, upload),) = uploads.items()
            file, size = await self.keep(name, upload)
        assert isinstance(file.source, Path)
        id = file.source.name
        shown = file.name or "file"
        return reply(
            {"id": id, "file": f"{KEPT}{id}/{quote(shown)}", "name": shown, "mime": file.mime, "size": size}, 201
        )


def walk(value: Any, key: str, where: str, find: Find) -> Any:
    """The JSON value with each reference to a file replaced, also in JSON that is written as text."""
    if isinstance(value, str):
        if key in _WORDS:
            return value
        if value.startswith((ATTACH, KEPT)):
            return find(value, where)
        if value[:1] in ("[", "{") and (ATTACH in value or KEPT in value):
            try:
                return walk(orjson.loads(value), key, where, find)
            except orjson.JSONDecodeError:
                return value
        return value
    if isinstance(value, dict):
        return {name: walk(item, name, f"{where}.{name}", find) for name, item in value.items()}
    if isinstance(value, list):
        return [walk(item, key, f"{where}[{i}]", find) for i, item in enumerate(value)]
    return value


def referred(params: Sequence[Any]) -> set[str]:
    """The names of the parts that parameters refer to."""
    names: set[str] = set()

    def note(reference: str, _: str) -> str:
        if reference.startswith(ATTACH):
            names.add(reference.removeprefix(ATTACH))
        return reference

    for one in params:
        if isinstance(one, dict):
            walk(one, "", "", note)
    return names


def limit_of(local: bool) -> int:
    """Bytes of one file that Telegram takes."""
    return LOCAL_LIMIT if local else CLOUD_LIMIT


def operations(desk: Desk) -> list[Operation]:
    return [
        Operation(
            "POST",
            "/v1/files",
            SEND,
            desk.upload,
            describe(
                "Upload a file once",
                "Kept by its content and named in any number of messages as `kurir-file:<id>/<name>`, where a parameter"
                " takes a file. Removed an hour after its upload, or its last use, if no message needs it.",
                tag="Files",
                body={
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "required": ["file"],
                            "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
                            "additionalProperties": False,
                        }
                    }
                },
                answers={201: answer("It is on disk.", ref("File"), EXAMPLE)},
                errors=(400, 413, 415, 422),
            ),
        )
    ]


EXAMPLE = {
    "id": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "file": "kurir-file:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08/cat.jpg",
    "name": "cat.jpg",
    "mime": "image/jpeg",
    "size": 48213,
}
