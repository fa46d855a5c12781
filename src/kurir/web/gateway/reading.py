"""What a client asked: from a raw HTTP request to a method, its parameters and files.

It follows the official server (tdlib/td, `tdnet/td/net/HttpReader.cpp`; tdlib/telegram-bot-api,
`HttpConnection.cpp`, `Query.cpp`): GET and POST mean the same; query string and body are merged, and of a name
given twice the first counts, the query string before the body (in JSON, where that needs a slower parser, the
last); a body that is neither JSON nor a form is passed over, and so is JSON that is no object.

Stricter than it: malformed JSON is refused, of which it takes what comes before the fault, and a method is a
word of letters and digits, so that it can be part of a URL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from kurir.telegram.files import InputFile
from kurir.web.forms import body, multipart, urlencoded
from kurir.web.forms.errors import BadRequest, ClientLeft, not_utf8
from kurir.web.forms.limits import Limits

__all__ = ["Asked", "BadRequest", "ClientLeft", "Limits", "read"]

_MAX_DEPTH: Final = 100  # of nested JSON, as in the official server


@dataclass(slots=True)
class Asked:
    """A request. Whoever got it closes it."""

    token: str
    test: bool  # for Telegram's test servers
    method: str  # as the client spelled it
    params: dict[str, Any]  # JSON bodies keep their types; all else is strings
    parts: dict[str, InputFile]  # sources are Paths of files that are there until `close`
    _form: multipart.Form | None = field(default=None, repr=False)

    async def close(self) -> None:
        """Remove the temporary files. Idempotent."""
        if self._form is not None:
            await self._form.close()


async def read(scope: Mapping[str, Any], receive: body.Receive, *, folder: Path, limits: Limits) -> Asked:
    """Read the whole request; its files become `new-*` in `folder`.

    Raises BadRequest, ClientLeft, and StoreFull or StoreError when files cannot be kept; then, and when it is
    cancelled, nothing is left in `folder`.
    """
    if scope["method"] not in ("GET", "POST"):
        raise BadRequest(405, "Method Not Allowed")
    token, test, method = _path(scope["path"])
    query = scope["query_string"]
    if len(query) > limits.query:
        raise BadRequest(431, "Request Header Fields Too Large: total headers size exceeded")
    in_query = _fields(query) if query else None
    asked = Asked(token, test, method, {}, {})
    first, more = await body.piece(receive)
    if first or more:
        kind = _content_type(scope["headers"])
        lower = kind.lower()
        if b"multipart/form-data" in lower:
            form = asked._form = multipart.Form(multipart.boundary(kind), folder, limits, len(query))
            await form.read(receive, first, more)
            asked.params, asked.parts = form.params, form.parts
        elif b"application/json" in lower:
            asked.params = _json(await body.whole(receive, first, more, limits.params - len(query)))
        elif b"application/x-www-form-urlencoded" in lower:
            asked.params = _fields(await body.whole(receive, first, more, limits.params - len(query)))
        else:
            await body.skip(receive, len(first), more, limits.body)
    if in_query:
        asked.params.update(in_query)
    named = asked.params.pop("method", "")
    if not method:
        try:
            asked.method = _checked(named)
        except BadRequest:
            await asked.close()
            raise
    return asked


def _path(path: str) -> tuple[str, bool, str]:
    """Token, whether for the test servers, and method, "" if there is none, of a path that is decoded."""
    if not path.startswith("/bot"):
        raise BadRequest(404, "Not Found")
    token, _, method = path[4:].partition("/")
    test = method == "test" or method.startswith("test/")
    if test:
        method = method[5:]
    return token, test, _checked(method) if method else ""


def _checked(method: object) -> str:
    if isinstance(method, str) and method.isascii() and method.isidentifier():
        return method
    raise BadRequest(404, "Not Found: method not found")


def _content_type(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    kind = b""
    for name, value in headers:
        if name == b"content-type":
            kind = value
        elif name == b"content-encoding" and value.lower() not in (b"", b"identity"):
            raise BadRequest(415, "Unsupported Media Type: unsupported content-encoding")
    return kind


def _fields(data: bytes) -> dict[str, Any]:
    try:
        return urlencoded.fields(data)
    except UnicodeDecodeError:
        raise not_utf8() from None


def _json(data: bytes) -> dict[str, Any]:
    """The parameters of a JSON body."""
    if not data:
        return {}
    try:
        given = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _malformed(data, error) from None
    if not isinstance(given, dict):
        return {}
    if data.count(b"[") + data.count(b"{") > _MAX_DEPTH and _too_deep(given):
        raise BadRequest(400, "Bad Request: can't parse parameter value: too big object depth")
    return given


def _malformed(data: bytes, error: orjson.JSONDecodeError) -> BadRequest:
    """Half of a surrogate pair is what a client sends that cuts a text in the midst of an emoji."""
    try:
        json.dumps(json.loads(data.decode()), ensure_ascii=False).encode()
    except UnicodeError:
        return not_utf8()
    except (ValueError, RecursionError):
        pass
    return BadRequest(400, f"Bad Request: can't parse JSON object: {error}")


def _too_deep(given: Any) -> bool:
    level = [given]
    for _ in range(_MAX_DEPTH):
        items = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for inner in items for item in inner if isinstance(item, dict | list)]
        if not level:
            return False
    return True
