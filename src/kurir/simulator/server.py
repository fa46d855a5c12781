"""The simulator over HTTP. Faults act on the socket; outages close the listening socket and open it again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from aiohttp import web

from kurir.ports import SystemClock

from . import control
from .errors import ApiError
from .faults import UNREACHED, Faults, Kind
from .limits import Limits
from .model import Response
from .pages import html_page
from .requests import Parsed, parse, split_path
from .webhooks import Webhooks
from .world import Exchange, World

LINE_LIMIT = 256 * 1024  # bytes of request line or header, as in td's HttpReader
LOOK = 0.02  # seconds between looks at the plan of outages
LINGER = struct.pack("ii", 1, 0)  # close with RST
NOT_FOUND = orjson.dumps({"ok": False, "error_code": 404, "description": "Not Found"})
JSON = {"Content-Type": "application/json"}


class SimulatorServer:
    """`async with SimulatorServer(world) as server:` serves on `server.url`. `port` 0: any free one."""

    def __init__(self, world: World, host: str = "127.0.0.1", port: int = 0) -> None:
        self.world = world
        self.host = host
        self.port = port
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._webhooks = Webhooks(world)

    @property
    def url(self) -> str:
        """What to use in place of https://api.telegram.org."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        self._web = web.Server(
            self._handle,
            access_log=None,
            handler_cancellation=True,
            max_line_size=LINE_LIMIT,
            max_field_size=LINE_LIMIT,
            keepalive_timeout=3600.0,
        )
        await self._listen()
        self._watch = asyncio.create_task(self._watch_outages())
        self._webhooks.start()

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        await self._webhooks.stop()
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        self._unlisten()
        if self._web is not None:
            await self._web.shutdown(0.2)

    async def __aenter__(self) -> SimulatorServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ------------------------------------------------------------ listening

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._web is not None
        self._listener = await loop.create_server(self._web, self.host, self.port, backlog=1024)
        self.port = self._listener.sockets[0].getsockname()[1]

    def _unlisten(self) -> None:
        """Nothing connects any more, and what is connected is reset."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self._web.connections) if self._web is not None else ():
            _reset(connection.transport)

    async def _watch_outages(self) -> None:
        while True:
            outage = self.world.faults.outage_at(self.world.clock.now())
            away = outage is not None and outage.kind in UNREACHED
            if away and self._listener is not None:
                self.world.journal.faults["outage_refused"] += 1
                self._unlisten()
            elif not away and self._listener is None:
                with contextlib.suppress(OSError):  # taken by somebody else meanwhile: look again
                    await self._listen()
            await asyncio.sleep(LOOK)

    # ------------------------------------------------------------ requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw, _, query = request.raw_path.partition("?")
        place = split_path(raw)
        if place is None:
            if raw.startswith("/sim/"):
                return await control.answer(self.world, request)
            return web.Response(body=NOT_FOUND, status=404, headers=JSON)
        kind, token, rest = place
        outage = self.world.faults.outage_at(self.world.clock.now())
        if outage is not None:
            return await self._in_outage(request, outage.kind)
        if kind == "file":
            return self._download(token, rest)
        try:
            params, files = await parse(request, query, self.world.files, self.world.local)
        except ApiError as error:
            refusal = {"ok": False, "error_code": error.code, "description": error.description}
            return web.Response(body=orjson.dumps(refusal), status=error.code, headers=JSON)
        exchange = self.world.exchange(token, rest or str(params.get("method", "")), params, files)
        if exchange.fault is None and exchange.response is not None:
            response = exchange.response
            if not response.hold and not response.poll:
                return self._send(request, response)
        return await self._act(request, token, (params, files), exchange)

    async def _act(
        self, request: web.BaseRequest, token: str, parsed: Parsed, exchange: Exchange
    ) -> web.StreamResponse:
        """What is not answered at once: faults, holds, long polls."""
        rule, response = exchange.fault, exchange.response
        try:
            if rule is not None:
                if rule.kind is Kind.HANG:
                    await _until_gone()
                if rule.kind in UNREACHED or rule.kind in (Kind.RESET_BEFORE, Kind.RESET_AFTER):
                    return _cut(request)
                if rule.kind is Kind.SLOW:
                    await asyncio.sleep(rule.seconds)
            if response is None:
                return _cut(request)
            if response.hold:
                await asyncio.sleep(response.hold)
            if response.poll:
                response = await self._poll(token, parsed[0], response)
        except asyncio.CancelledError:  # the client has gone
            self.world.journal.doubt(exchange.response.entry if exchange.response else None)
            raise
        if rule is not None and rule.kind is Kind.STATUS_HTML:
            return web.Response(text=html_page(rule.status), status=rule.status, content_type="text/html")
        return self._send(request, response)

    def _send(self, request: web.BaseRequest, response: Response) -> web.Response:
        transport = request.transport
        if transport is None or transport.is_closing():
            self.world.journal.doubt(response.entry)
        headers = {**JSON, **response.headers} if response.headers else JSON
        return web.Response(body=orjson.dumps(response.payload), status=response.status, headers=headers)

    async def _poll(self, token: str, params: dict[str, Any], response: Response) -> Response:
        bot, loop = self.world.bots[token], asyncio.get_running_loop()
        generation, until = bot.polls, loop.time() + response.poll
        woken = asyncio.Event()
        bot.listeners.append(woken.set)
        try:
            while True:
                later = self.world.poll(token, params, generation)
                if later is not None:
                    return later
                woken.clear()
                left = until - loop.time()
                if left <= 0:
                    return response
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(woken.wait(), left)
        finally:
            bot.listeners.remove(woken.set)

    async def _in_outage(self, request: web.BaseRequest, kind: Kind) -> web.StreamResponse:
        self.world.journal.faults[f"outage_{kind}"] += 1
        if kind is Kind.HANG:
            await _until_gone()
        if kind is Kind.STATUS_HTML:
            return web.Response(text=html_page(502), status=502, content_type="text/html")
        if kind is Kind.STATUS_JSON:
            payload = {"ok": False, "error_code": 502, "description": "Bad Gateway"}
            return web.Response(body=orjson.dumps(payload), status=502, headers=JSON)
        return _cut(request)

    def _download(self, token: str, path: str) -> web.Response:
        bot = self.world.bots.get(token)
        found = self.world.files.download(bot.id, path) if bot else None
        if found is None:
            return web.Response(body=NOT_FOUND, status=404, headers=JSON)
        return web.Response(body=found.read_bytes(), content_type="application/octet-stream")


def _reset(transport: asyncio.Transport | None) -> None:
    """Close with RST, as a broken network does."""
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    transport.abort()


def _cut(request: web.BaseRequest) -> web.Response:
    _reset(request.transport)
    return web.Response(status=500)  # goes nowhere


async def _until_gone() -> None:
    """Never answer: the handler is cancelled when the client goes."""
    await asyncio.Event().wait()


async def run(
    host: str = "127.0.0.1",
    port: int = 8081,
    *,
    tokens: Iterable[str] = (),
    limits: Limits | None = None,
    faults: Faults | None = None,
    seed: int = 0,
    open_doors: bool = True,
    local: bool = False,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until cancelled. No `tokens`: every well-formed token is a bot. `ready` is told the URL."""
    tokens = list(tokens)
    world = World(
        SystemClock(),
        seed=seed,
        limits=limits,
        faults=faults,
        open_doors=open_doors,
        any_token=not tokens,
        local=local,
    )
    for token in tokens:
        world.add_bot(token)
    try:
        async with SimulatorServer(world, host, port) as server:
            if ready is not None:
                ready(server.url)
            await asyncio.Event().wait()
    finally:
        world.close()
