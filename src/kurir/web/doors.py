"""All doors of a process behind one address, and how they close.

A stop, in steps: new calls are refused; clients that wait get `PATIENCE` seconds, in which the courier goes on; who still
waits then is told that the message is stored and will be delivered.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Self

from starlette.applications import Starlette

from kurir.app import Kurir

from . import health
from .auth import allowance
from .gateway.downloads import Downloads
from .gateway.gateway import Gateway
from .rest import Rest
from .rest.problems import handlers
from .server import Server

PATIENCE = 3.0  # seconds that clients who wait get at a stop
LOOK = 0.05  # seconds between looks at whether all have their answers

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Doors:
    """`open` is to be used inside `async with kurir`; make it before, since metrics count from here on.

    `api` False: only health and metrics, which is what `kurir worker` shows.
    """

    def __init__(self, kurir: Kurir, *, api: bool = True) -> None:
        self._metrics = health.measured(kurir)
        self._rest = Rest(kurir, allowance=allowance(kurir.settings.rest_rate)) if api else None
        routes = health.routes(kurir, self._metrics)
        self._others = Starlette(routes=list(routes), exception_handlers=handlers())
        self._gateway: Gateway | None = None
        self._downloads: Downloads | None = None
        if api:
            self._gateway = Gateway(kurir, upload_folder(kurir), self._metrics.request)
            self._downloads = Downloads(kurir, self._gateway.known, self._metrics.request)
        self._server = Server(self, kurir.settings.listen)

    @property
    def url(self) -> str:
        return self._server.url

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith("//"):  # a base URL with a slash at its end
            path = scope["path"] = "/" + path.lstrip("/")
        if self._gateway is not None and path.startswith("/bot"):
            await self._gateway(scope, receive, send)
        elif self._downloads is not None and path.startswith("/file/bot"):
            await self._downloads(scope, receive, send)
        elif self._rest is not None and (path == "/v1" or path.startswith("/v1/")):
            await self._counted(self._rest, scope, receive, send)
        else:
            await self._others(scope, receive, send)

    async def _counted(self, rest: Rest, scope: Any, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 499

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._metrics.request("rest", status, time.perf_counter() - began)
            await send(message)

        await rest(scope, receive, noted)
        if status == 499:  # the client left before it was answered
            self._metrics.request("rest", status, time.perf_counter() - began)

    async def __aenter__(self) -> Self:
        """Open. Raises InvalidSetting when nothing can listen there."""
        if self._gateway is not None:
            await self._gateway.open()
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def _busy(self) -> bool:
        """Does anybody wait for an answer, streams and long polls aside?"""
        gateway, rest = self._gateway, self._rest
        return (gateway is not None and gateway.busy) or (rest is not None and rest.busy > 0)

    async def close(self) -> None:
        """In less than PATIENCE + 2 seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        if self._gateway is not None:
            self._gateway.refuse()
        if self._rest is not None:
            self._rest.refuse()
        while self._busy and loop.time() < until:  # noqa: ASYNC110 - it becomes so by many ways
            await asyncio.sleep(LOOK)
        if self._gateway is not None:
            self._gateway.end()
        if self._downloads is not None:
            self._downloads.end()
        if self._rest is not None:
            self._rest.end()
        await self._server.stop()
        if self._gateway is not None:
            await self._gateway.close()


def upload_folder(kurir: Kurir) -> Path:
    """Where files of requests are first written: on the file system of the spool, whose housekeeping removes debris."""
    return kurir.spool.folder if kurir.spool is not None else Path(tempfile.gettempdir())
