"""HTTP/1.1 as uvicorn reads it, but for: how long a request line may be, how long it may take to come, and how garbage
is answered."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_LINE: Final = (1 << 18) + (1 << 12)  # bytes: the official server takes 256 kB of parameters in it
LONGEST_HEAD: Final = 1 << 16  # bytes of all headers together
MOST_HELD: Final = 1 << 16  # bytes of an answer that wait for the end of the loop's turn
HEAD_TIME: Final = 30.0  # seconds in which a request's line and headers must have come, and each piece of its body
PEER: Final = "kurir.peer"  # name of the ASGI extension that is the `Peer`
_PARSED: Final = 0xFFFF  # bytes of a URL that httptools can take apart


class Peer:
    """The client at the other end of a connection. `if_reset` is called when it closes the connection and has not read the
    answer: TCP tells that by a reset."""

    __slots__ = ("_poll", "if_reset")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self.if_reset: Callable[[], None] | None = None
        self._poll = None
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "POLLRDHUP"):
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLRDHUP)

    def gone(self) -> bool:
        """Has it closed, though nobody has noticed yet?"""
        return self._poll is not None and bool(self._poll.poll(0))


def peer_of(scope: Mapping[str, Any]) -> Peer | None:
    """The client of a request, where `Protocol` serves it."""
    peer = scope.get("extensions", {}).get(PEER)
    return peer if isinstance(peer, Peer) else None


class Corked:
    """A transport that hands on in one piece what is written in one turn of the loop: the head of an answer and its body."""

    __slots__ = ("_held", "_loop", "_size", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_HELD:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            data, self._held, self._size = b"".join(self._held), [], 0
            self._transport.write(data)


class Protocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`."""

    _deadline: asyncio.TimerHandle | None = None
    _peer: Peer | None = None
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", Corked(transport, self.loop)))
        self._peer = Peer(transport)
        self._within(HEAD_TIME)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        peer, self._peer = self._peer, None
        super().connection_lost(exc)
        if peer is not None and peer.if_reset is not None and isinstance(exc, ConnectionError):
            peer.if_reset()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        """Whoever holds a connection without getting on makes room for others: a head has to come in HEAD_TIME, and
        so has each next piece of its body. While an answer is being made nobody is hurried."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            self._in_time()
        elif cycle is not None and not cycle.response_complete:
            self._within(HEAD_TIME)  # a piece of the body came
        elif self._deadline is None:
            self._within(HEAD_TIME)

    def on_response_complete(self) -> None:
        self._in_time()  # from here on uvicorn's keep-alive counts, until something comes
        super().on_response_complete()

    def _within(self, seconds: float) -> None:
        self._in_time()
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        if self._peer is not None:
            self._peer.if_reset = None  # it asks on: it has read the answer
            self.scope["extensions"] = {PEER: self._peer}  # type: ignore[dict-item]

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
        self._in_time()
        url = self.url
        if len(url) <= _PARSED:
            super().on_headers_complete()
            return
        self.url, _, query = url.partition(b"?")
        super().on_headers_complete()
        self.scope["query_string"] = query  # nobody has looked yet: the request's task begins later

    def send_400_response(self, msg: str) -> None:
        """In an envelope that is both the Bot API's and a problem (RFC 9457): who talks HTTP this badly may be anybody."""
        ours = {"ok": False, "error_code": 400, "description": f"Bad Request: {msg}"}
        theirs = {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": msg}
        body = orjson.dumps({**ours, **theirs})
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d"
        self.transport.write(head % len(body) + b"\r\n\r\n" + body)
        self.transport.close()
