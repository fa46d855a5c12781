"""What goes back over ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

JSON = b"application/json"


class Answer(Protocol):
    """Something that can be sent."""

    async def to(self, receive: Receive, send: Send) -> None: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def to(self, receive: Receive, send: Send) -> None:
        headers = [*self.headers]
        if self.status != 204:
            headers += [(b"content-length", b"%d" % len(self.body)), (b"content-type", self.type)]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def reply(value: Any, status: int = 200) -> Reply:
    """A value as JSON."""
    return Reply(status, orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


NO_CONTENT = Reply(204, b"")
