"""uvicorn inside our own event loop: it binds first, so that a wrong address is a clear error, and stops in steps."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Self

import uvicorn

from kurir.core.errors import InvalidSetting

from .protocol import Protocol

Message = MutableMapping[str, Any]
App = Callable[[Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

KEEP_ALIVE = 75  # seconds an idle connection is kept, as nginx does
BACKLOG = 2048  # connections that wait to be accepted
LAST_ANSWERS = 1  # seconds in which answers that were made are still written


class Server:
    """Serves an ASGI application. `listen` is host:port; port 0: any free one."""

    def __init__(self, app: App, listen: str) -> None:
        self._listen = listen
        self._app = app
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """Raises InvalidSetting when nothing can listen there."""
        self._socket = bind(self._listen)
        config = uvicorn.Config(
            self._app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=LAST_ANSWERS,
            backlog=BACKLOG,
        )
        config.load()
        server = self._server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[self._socket])
        self._loop = asyncio.create_task(server.main_loop(), name="kurir-server")

    async def stop(self) -> None:
        """Close the door and all connections; what still runs after LAST_ANSWERS seconds is broken off."""
        if self._server is None or self._socket is None:
            return
        self._server.should_exit = True
        if self._loop is not None:
            await self._loop
        await self._server.shutdown(sockets=[self._socket])
        self._server = None


def bind(listen: str) -> socket.socket:
    """A listening socket. Raises InvalidSetting."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
        # Accepted sockets inherit it; asyncio's own loop sets it only where a socket's protocol number is told.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise InvalidSetting(
            "KURIR_LISTEN",
            f"cannot listen on {listen}: {error.strerror}",
            "Choose another address, or end what is there.",
        ) from None
