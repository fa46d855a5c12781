"""HTTP/1.1 as uvicorn reads it, but for: how long a request line may be, how long it may take to come, and how garbage
is answered."""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_LINE: Final = (1 << 18) + (1 << 12)  # bytes: the official server takes 256 kB of parameters in it
LONGEST_HEAD: Final = 1 << 16  # bytes of all headers together
HEAD_TIME: Final = 30.0  # seconds in which a request's line and headers must have come
_PARSED: Final = 0xFFFF  # bytes of a URL that httptools can take apart


class Protocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._have_head()
        self._deadline = self.loop.call_later(HEAD_TIME, self._too_slow)

    def _have_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        """Whoever holds a connection without asking anything makes room for others."""
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        if len(self.url) + len(url) > LONGEST_LINE:
            raise ValueError("the request line is too long")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        if self._head > LONGEST_HEAD:
            raise ValueError("the headers are too long")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._have_head()
        url = self.url
        if len(url) <= _PARSED:
            super().on_headers_complete()
            return
        self.url, _, query = url.partition(b"?")
        super().on_headers_complete()
        self.scope["query_string"] = query  # nobody has looked yet: the request's task begins later

    def send_400_response(self, msg: str) -> None:
        """In the Bot API's envelope: whoever talks HTTP this badly is a bot."""
        body = orjson.dumps({"ok": False, "error_code": 400, "description": f"Bad Request: {msg}"})
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d"
        self.transport.write(head % len(body) + b"\r\n\r\n" + body)
        self.transport.close()
