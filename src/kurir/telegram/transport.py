"""One HTTP call to the Bot API, over one pool of kept-alive connections.

The pool, name resolution, TLS, proxies and parsing are aiohttp's. The request is written here, in one piece
and without a `ClientSession`, for two reasons: what was handed to the connection is then known for certain,
and a call costs less than half as much.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from aiohttp.http_writer import StreamWriter

from kurir.core.errors import KurirError
from kurir.core.outcome import Answer, NoReply, Reply
from kurir.ports import Call, Withheld

from .download import PIECE, Download, copy, failed, store, words
from .faults import NoFreeConnection, fault
from .files import localised
from .multipart import Form
from .redact import redact
from .upstream import Upstream

LONGEST_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of an answer that are read; an update list of 100 has some hundred KB."""

SLOWEST_UPLOAD: Final = 16 * 1024
"""Bytes a second: an upload may take its size divided by this, and the answer's time, in all."""

AHEAD: Final = 256 * 1024
"""Bytes of an answer that are read ahead."""

_EXCERPT: Final = 200  # characters of a body that is no JSON


class _Trip:
    """How far one call came. `sent`: the first byte was handed to an open connection. `may_leave`: asked just before."""

    __slots__ = ("may_leave", "sent")

    def __init__(self, may_leave: Callable[[], bool] | None = None) -> None:
        self.may_leave = may_leave
        self.sent = False


class _Slots:
    """The right to use one of `limit` connections, first come, first served; each waits `timeout` seconds at
    most."""

    def __init__(self, limit: int, timeout: float) -> None:
        self._free = limit
        self._timeout = timeout
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._timeout):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give()  # it came too late
            if isinstance(error, TimeoutError):
                raise NoFreeConnection(f"all connections were busy for {self._timeout:g} s") from None
            raise

    def give(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class HttpTransport:
    """`ports.Transport` over HTTP.

    `proxy`: http://, https://, socks5:// (names resolved here) or socks5h:// (by the proxy), with
    user:password if need be. `connect_timeout`: seconds, for a free connection and again to connect it.
    `read_timeout`: seconds to wait for an answer; the official server itself holds a request up to 8 s
    through a flood wait. `pool`: connections at most. `local`: the Bot API server runs with `--local` and
    reads the spool's folder: files go as file:// paths.
    """

    def __init__(
        self,
        base_url: str = "https://api.telegram.org",
        *,
        proxy: str | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 75.0,
        pool: int = 100,
        local: bool = False,
    ) -> None:
        self._upstream = Upstream(base_url, proxy, connect_timeout)
        self._slots = _Slots(pool, connect_timeout)
        self._read_timeout = read_timeout
        self._local = local

    async def call(self, call: Call) -> Answer:
        """One call of the Bot API; never raises for what the network, the files or Telegram do. Raises Withheld."""
        trip = _Trip(call.may_leave)
        timeout = call.timeout or self._read_timeout
        try:
            if call.parts and not self._local:
                return await self._upload(call, trip, timeout)
            params = localised(call.params, call.parts) if call.parts else call.params
            head = self._upstream.json_head(call.token, call.method, call.test)
            return await self._exchange(b"%b%d\r\n\r\n%b" % (head, len(params), params), trip, timeout)
        except Withheld:
            raise
        except Exception as error:
            return fault(error, trip.sent, proxied=self._upstream.proxied)

    async def stream(self, token: str, file_path: str, *, test: bool = False) -> Download | NoReply:
        """Begin to download a file of `getFile`; the caller closes it. Never raises for what the network or Telegram
        does; raises KurirError for a `file_path` that is none."""
        request = self._upstream.file_head(token, file_path, test)
        trip = _Trip()
        try:
            return await self._begin(request, trip, file_path)
        except Exception as error:
            return fault(error, trip.sent, proxied=self._upstream.proxied)

    async def download(self, token: str, file_path: str, dest: Path, *, test: bool = False) -> int:
        """Stream a file of `getFile` to `dest`, whole or not at all; answers its size in bytes. Raises
        KurirError."""
        from_disk = Path(file_path)
        if self._local and from_disk.is_absolute():
            return await asyncio.to_thread(copy, from_disk, dest)
        begun = await self.stream(token, file_path, test=test)
        if isinstance(begun, NoReply):
            raise failed(file_path, begun)
        partial = dest.with_name(f"{dest.name}.part")
        try:
            async with begun:
                if begun.status != 200:
                    raise _refused(begun.status, await words(begun, 4096))
                size = await store(begun, partial)
            await asyncio.to_thread(partial.replace, dest)
        except OSError as error:
            what = f"download of {redact(file_path)} failed: {dest} cannot be written: {error.strerror}"
            raise KurirError(what, "Make room, or let this process write there.") from None
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
        return size

    async def close(self) -> None:
        """Close all connections. Calls that are out end as broken."""
        await self._upstream.close()

    # ---------------------------------------------------------------- one exchange

    async def _exchange(self, request: bytes, trip: _Trip, timeout: float) -> Reply:
        """Write the whole request at once, read the answer."""
        await self._slots.take()
        try:
            connection = await self._upstream.connect()
            whole = False
            try:
                async with asyncio.timeout(timeout):
                    protocol = _ready(connection)
                    await _write(protocol, request, trip)
                    message, stream = await _answer(protocol)
                    body, whole = await _body(stream)
            finally:
                connection.release() if whole else connection.close()
        finally:
            self._slots.give()
        return _reply(message, body, whole)

    async def _upload(self, call: Call, trip: _Trip, timeout: float) -> Reply:
        """Write a multipart request as the connection takes it; a server may answer before it has all."""
        form = Form(orjson.loads(call.params), call.parts)
        await self._slots.take()
        try:
            await form.open()
            return await self._upload_form(call, form, trip, timeout)
        finally:
            self._slots.give()
            await form.close()

    async def _upload_form(self, call: Call, form: Form, trip: _Trip, timeout: float) -> Reply:
        head = self._upstream.form_head(call.token, call.method, form.content_type, call.test)
        connection = await self._upstream.connect()
        reusable = False
        try:
            protocol = _ready(connection)
            async with asyncio.timeout(timeout) as deadline:
                sender = asyncio.ensure_future(_send_form(protocol, head, form, trip, deadline, timeout))
                answer = asyncio.ensure_future(_answer(protocol))
                try:
                    await asyncio.wait((sender, answer), return_when=asyncio.FIRST_COMPLETED)
                    complete = sender.done() and sender.result()
                    message, stream = await answer
                    body, whole = await _body(stream)
                finally:
                    _abandon(sender)
                    _abandon(answer)
            reusable = complete and whole
        finally:
            connection.release() if reusable else connection.close()
        return _reply(message, body, whole)

    async def _begin(self, request: bytes, trip: _Trip, file_path: str) -> Download:
        """Ask for a file and wait for the answer's head. The slot and the connection are the download's from then on."""
        await self._slots.take()
        try:
            connection = await self._upstream.connect()
            try:
                async with asyncio.timeout(self._read_timeout):
                    protocol = _ready(connection, PIECE)
                    await _write(protocol, request, trip)
                    message, stream = await _answer(protocol)
                return Download(
                    connection, message, stream, what=file_path, timeout=self._read_timeout, closed=self._slots.give
                )
            except BaseException:
                connection.close()
                raise
        except BaseException:
            self._slots.give()
            raise


# ---------------------------------------------------------------- steps of an exchange


def _ready(connection: Connection, ahead: int = AHEAD) -> ResponseHandler:
    """The connection's protocol, set to parse one answer and to read about `ahead` bytes more than are taken."""
    protocol = connection.protocol
    assert protocol is not None, "a connection that was just opened has a protocol"
    protocol.set_response_params(read_until_eof=True, read_bufsize=ahead)
    return protocol


async def _write(protocol: ResponseHandler, request: bytes, trip: _Trip) -> None:
    """Hand the whole request to the connection; wait only while its buffer is full."""
    transport = protocol.transport
    if transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("the connection had closed before anything was written")
    if trip.may_leave is not None and not trip.may_leave():
        raise Withheld
    trip.sent = True
    transport.write(request)
    if protocol.writing_paused:
        with suppress(OSError, aiohttp.ClientError):  # reading tells more
            await StreamWriter(protocol, asyncio.get_running_loop()).drain()


async def _send_form(
    protocol: ResponseHandler,
    head: bytes,
    form: Form,
    trip: _Trip,
    deadline: asyncio.Timeout,
    timeout: float,
) -> bool:
    """Write head and body; each piece in `timeout` seconds, all in a time that suits its size. False when the
    connection broke before it had all: the reason is there to be read."""
    loop = asyncio.get_running_loop()
    last = loop.time() + timeout + form.size / SLOWEST_UPLOAD
    await _write(protocol, b"%b%d\r\n\r\n" % (head, form.size), trip)
    writer = StreamWriter(protocol, loop)
    async with aclosing(form.chunks()) as chunks:
        async for piece in chunks:
            deadline.reschedule(min(loop.time() + timeout, last))
            try:
                await writer.write(piece)
            except (OSError, aiohttp.ClientError):
                return False
    deadline.reschedule(loop.time() + timeout)
    return True


async def _answer(protocol: ResponseHandler) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    """The answer's head and its body's stream, past interim answers (1xx)."""
    while True:
        message, stream = await protocol.read()
        if message.code >= 200:
            return message, stream


async def _body(stream: aiohttp.StreamReader) -> tuple[bytes, bool]:
    """The answer's body, at most LONGEST_ANSWER of it, and whether that is all."""
    if stream.is_eof():
        return stream.read_nowait(), True
    pieces: list[bytes] = []
    size = 0
    while piece := await stream.readany():
        pieces.append(piece)
        size += len(piece)
        if size > LONGEST_ANSWER:
            return b"".join(pieces), False
    return b"".join(pieces), True


def _abandon(task: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more; if it failed, that is no news."""
    if not task.cancel():
        task.cancelled() or task.exception()
    else:
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _reply(message: RawResponseMessage, body: bytes, whole: bool) -> Reply:
    payload: Any = None
    if whole:
        with suppress(orjson.JSONDecodeError):
            payload = orjson.loads(body)
    header = message.headers.get("Retry-After", "") if message.code >= 400 else ""
    retry_after = float(header) if header.isdecimal() and len(header) < 10 else None
    if isinstance(payload, dict):
        return Reply(message.code, payload, "", retry_after)
    excerpt = redact(body[:4096].decode("utf-8", "replace"))[:_EXCERPT]
    return Reply(message.code, None, excerpt, retry_after)


def _refused(status: int, body: bytes) -> KurirError:
    told = _described(body) or redact(body.decode("utf-8", "replace"))[:_EXCERPT]
    return KurirError(f"download refused with {status}: {told}", "Ask getFile for a new file_path.")


def _described(body: bytes) -> str | None:
    with suppress(orjson.JSONDecodeError):
        payload = orjson.loads(body)
        if isinstance(payload, dict):
            return str(payload.get("description"))
    return None
