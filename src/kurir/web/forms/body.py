"""The body of a request as ASGI hands it out, never more of it in memory than a limit says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .errors import BadRequest, ClientLeft, too_many_parameters

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def piece(receive: Receive) -> tuple[bytes, bool]:
    """The next piece, and whether more follow. Raises ClientLeft."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientLeft
    return message.get("body") or b"", message.get("more_body", False)


async def whole(receive: Receive, first: bytes, more: bool, limit: int) -> bytes:
    """The whole body, of which `first` was read. Raises BadRequest when it is larger than `limit` bytes, and
    ClientLeft."""
    if len(first) > limit:
        raise too_many_parameters()
    if not more:
        return first
    data = bytearray(first)
    while more:
        chunk, more = await piece(receive)
        data += chunk
        if len(data) > limit:
            raise too_many_parameters()
    return bytes(data)


async def skip(receive: Receive, size: int, more: bool, limit: int) -> None:
    """Read to its end a body of which `size` bytes were read, and keep nothing. Raises BadRequest when it is
    larger than `limit` bytes, and ClientLeft."""
    check(size, limit)
    while more:
        chunk, more = await piece(receive)
        size += len(chunk)
        check(size, limit)


def check(size: int, limit: int) -> None:
    """Raises BadRequest for a body that is larger than any may be."""
    if size > limit:
        raise BadRequest(413, f"Request Entity Too Large: content length is {size}")
