"""One request as the handlers see it: small, because every message passes here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

import orjson

from kurir.core.errors import InvalidMessage, KurirError, TooLarge
from kurir.web.auth import Caller

from .answers import Receive

MOST_FILTERS = 100  # parameters in a query string
MOST_NESTED = 500_000  # `[` and `{` in a body: each costs many times its byte
LARGE = 1 << 20  # bytes from which a body is parsed in a thread
_PARSERS = ThreadPoolExecutor(2, "kurir-json")  # large bodies at once, whoever sends them


class Malformed(KurirError):
    """The request is no JSON, no multipart, or not what its headers say."""


class Unsupported(KurirError):
    """A body of a type that is not understood."""


class Left(Exception):
    """The client hung up before its request was complete."""


class Asked:
    """`caller` is set once the key was recognised; None where none is needed."""

    __slots__ = ("_headers", "caller", "path_params", "receive", "scope")

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.caller: Caller | None = None
        self.path_params: Mapping[str, str] = scope.get("path_params", {})
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]

    def header(self, name: bytes) -> bytes | None:
        """The header's value; `name` in lower case."""
        for key, value in self._headers:
            if key == name:
                return value
        return None

    @property
    def address(self) -> str:
        client = self.scope.get("client")
        return client[0] if client else ""

    def query(self) -> list[tuple[str, str]]:
        """The parameters of the query string. Raises Malformed."""
        text = self.scope["query_string"].decode("latin-1")
        try:
            return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FILTERS)
        except ValueError:
            raise Malformed(f"more than {MOST_FILTERS} parameters", "Ask with fewer.") from None

    # ---------------------------------------------------------------- bodies

    def media(self) -> bytes:
        """The body's type in lower case, without parameters; empty where none was said."""
        return (self.header(b"content-type") or b"").partition(b";")[0].strip().lower()

    async def raw(self, most: int) -> bytes:
        """The whole body. Raises TooLarge above `most` bytes, Unsupported, Left."""
        self.check_head(most)
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise Left
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            pieces, size = [body], len(body)
            async for piece in self._pieces():
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    raise _too_large(most)
            body = b"".join(pieces)
        if len(body) > most:
            raise _too_large(most)
        return body

    async def json(self, most: int) -> Any:
        """The body as JSON. Raises Unsupported, TooLarge, Malformed, Left."""
        return await load(await self.raw_json(most))

    async def raw_json(self, most: int) -> bytes:
        """The body, which says it is JSON, or nothing of its type; an empty one may say anything."""
        if self.media() not in (b"application/json", b"") and self.header(b"content-length") != b"0":
            raise Unsupported(
                f"the body is {self.media().decode('latin-1')[:80]}",
                "Send the header `Content-Type: application/json`.",
            )
        return await self.raw(most)

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Left
            more = message.get("more_body", False)
            if piece := message.get("body", b""):
                yield piece

    def check_head(self, most: int) -> None:
        """Raises TooLarge for a body that says it is larger, Unsupported for one that is compressed."""
        for key, value in self._headers:
            if key == b"content-length":
                if len(value) < 20 and value.isdigit() and int(value) > most:
                    raise _too_large(most)
            elif key == b"content-encoding" and value.strip().lower() not in (b"identity", b""):
                what = f"the body is encoded with {value.decode('latin-1')[:80]}"
                raise Unsupported(what, "Send it as it is, without a Content-Encoding header.")


async def load(body: bytes) -> Any:
    """JSON; the loop goes on while a large body is parsed or waits for that. Raises Malformed, TooLarge."""
    if len(body) > MOST_NESTED and body.count(b"[") + body.count(b"{") > MOST_NESTED:
        raise TooLarge("body", f"has more than {MOST_NESTED:,} lists and objects", "Send less at once.")
    if len(body) <= LARGE:
        return parse(body)
    return await asyncio.get_running_loop().run_in_executor(_PARSERS, parse, body)


def parse(body: bytes) -> Any:
    """JSON. Raises Malformed."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        what = "the body is empty" if not body else f"the body is no JSON: {error}"
        raise Malformed(what, 'Send JSON, for example {"method": "sendMessage", "params": {...}}.') from None


def an_object(body: Any, where: str = "body") -> dict[str, Any]:
    """A JSON object. Raises InvalidMessage."""
    if type(body) is not dict:
        raise InvalidMessage(where, f"is {json_type(body)}", "Send a JSON object: {...}.")
    return body


def json_type(value: object) -> str:
    """What a JSON value is, in JSON's words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _too_large(most: int) -> TooLarge:
    return TooLarge("body", f"is larger than {most:,} bytes", "Send less at once, or upload files by themselves.")
