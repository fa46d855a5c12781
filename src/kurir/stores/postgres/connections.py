"""Connections to the server: a few that are used again and again, made anew when they break."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from kurir.core.errors import InvalidSetting, StoreAway

from .address import FIELD, Address
from .errors import Away, translate

T = TypeVar("T")
Work = Callable[[Any], Awaitable[T]]

CONNECT = 5.0  # seconds until a connection must stand
KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 20_000))
PREPARED = 200  # statements a connection keeps prepared
NOT_OPEN = "Use Kurir inside its `async with`."

UNREACHABLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_MISTAKES = (asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError, asyncpg.CantChangeRuntimeParamError)


class Pool:
    """Up to `size` connections. Each piece of work has one for itself, and a time limit after which it is given up.

    `bounced`: a pooler (PgBouncer) is in between that may give each transaction another server connection. Then nothing may
    depend on the session, and work is wrapped into a transaction, so that its steps reach one and the same.
    """

    def __init__(self, address: Address, size: int, *, longest: float) -> None:
        self.address = address
        self.bounced = False
        self._longest = longest  # seconds a statement may take on the server
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Any] = []
        self._closed = False

    async def run(self, work: Work[T], limit: float | None = None) -> T:
        """What `work(connection)` answers. Raises Away and `KurirError`."""
        limit = self.address.timeout if limit is None else limit
        started = time.monotonic()
        try:
            async with asyncio.timeout(limit):
                await self._slots.acquire()
        except TimeoutError:
            error = StoreAway(f"{self.address.name}: all connections are busy", "Raise `pool` in KURIR_STORE.")
            raise Away(error, doubtful=False) from None
        try:
            connection = await self._get()
            return await self._use(connection, work, max(0.1, limit - (time.monotonic() - started)))
        finally:
            self._slots.release()

    async def _get(self) -> Any:
        if self._closed:
            raise StoreAway(f"{self.address.name} is closed", NOT_OPEN)
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self.connect()

    async def _use(self, connection: Any, work: Work[T], limit: float) -> T:
        try:
            async with asyncio.timeout(limit):
                if self.bounced:
                    async with connection.transaction(isolation="read_committed"):
                        await connection.execute(self._setup("SET LOCAL"))
                        result = await work(connection)
                else:
                    result = await work(connection)
        except BaseException as error:
            raised = self.translated(error)
            if isinstance(raised, Away) and not raised.usable:
                self.drop()  # the others go to the same server
                connection.terminate()
            elif connection.is_closed() or connection.is_in_transaction() or not isinstance(error, Exception):
                connection.terminate()
            else:
                self._keep(connection)
            if raised is error:
                raise
            raise raised from None
        self._keep(connection)
        return result

    def translated(self, error: BaseException) -> BaseException:
        """As Away or a `KurirError`, if it comes from the server or from the way there."""
        return translate(error, self.address.name) or error

    def _keep(self, connection: Any) -> None:
        if self._closed or connection.is_closed():
            connection.terminate()
        else:
            self._idle.append(connection)

    def drop(self) -> None:
        """Use none of the idle connections again."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()

    async def connect(self) -> Any:
        """A connection of one's own, set up. Raises Away (nothing was asked yet, so nothing is in doubt), InvalidSetting."""
        cache = 0 if self.bounced else PREPARED
        try:
            async with asyncio.timeout(CONNECT):
                connection = await asyncpg.connect(self.address.dsn, timeout=CONNECT, statement_cache_size=cache)
                keep_alive(connection)
                if not self.bounced:
                    await connection.execute(self._setup("SET"))
                return connection
        except (asyncpg.ClientConfigurationError, *_MISTAKES) as error:
            raise InvalidSetting(FIELD, f"cannot be used: {error}", "See the URLs of libpq.") from None
        except (*UNREACHABLE, ValueError) as error:
            why = str(error) or type(error).__name__
            remedy = f"See that {self.address.name} runs and lets Kurir in ({FIELD})."
            raise Away(StoreAway(f"{self.address.name} is not reachable: {why}", remedy), doubtful=False) from None

    def _setup(self, set: str) -> str:
        limit = int(self._longest * 1000)
        settings = (
            f"statement_timeout = {limit}",
            f"idle_in_transaction_session_timeout = {limit}",
            "jit = off",
            "client_min_messages = warning",
            *(() if self.bounced else ("default_transaction_isolation = 'read committed'",)),
        )
        return "; ".join(f"{set} {setting}" for setting in settings)

    async def close(self) -> None:
        """Close the idle connections; those in use close when their work is done."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(Exception):
                await connection.close(timeout=1.0)


def keep_alive(connection: Any) -> None:
    """Have the system notice that the other side is gone."""
    transport = getattr(connection, "_transport", None)
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
