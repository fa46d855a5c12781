"""The way to the server: connections, scripts, time limits, and trying again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from kurir.core.errors import InvalidSetting, KurirError, StoreAway
from kurir.stores.breaker import Breaker
from kurir.stores.clock import ServerClock
from kurir.stores.commits import Commits

from .address import CONNECT_SECONDS, FIELD, Address
from .keyspace import Keyspace
from .scripts import script
from .troubles import translate
from .watch import Watch

T = TypeVar("T")
Client = Redis | RedisCluster
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between tries of one call ...
PATIENCE = 2.0  # ... that do not begin later than so many seconds after the first
IDLE = 15  # seconds after which a connection is tried out before it is used
TROUBLES = (RedisError, OSError, TimeoutError)


class Unsent(StoreAway):
    """The store is away, and the call did not leave."""


class Link:
    """One server, one cluster of them, or whichever server sentinels say is master.

    `command` and `run` have a time limit and go through the breaker. What is lost on the way is tried again for some 1.5 s,
    then StoreAway is raised: so a call must come out right if the server carries it out twice. It goes on, and is carried
    out, when its caller is cancelled. Errors: `StoreError` and its children.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.cluster = False
        self.commits = Commits()
        self.clock = ServerClock()
        self.breaker = Breaker(address.shown)
        self.worked = False  # the server has let us do what we need
        self.unfit: StoreAway | None = None  # the server that took over must not be used
        self._client: Client | None = None
        self._scout: Client | None = None  # for looking; the same, without sentinels
        self._watch: Watch | None = None
        self._moves = 0  # from one master to another
        self._waits: set[asyncio.Timeout] = set()  # for answers
        self._room = asyncio.Semaphore(address.pool)
        key = Keyspace(address.prefix).of_store("fence")
        self._fence = ("EVAL", script("fence").source, 1, key)
        self._calls: set[asyncio.Task[Any]] = set()

    @property
    def is_open(self) -> bool:
        return self._client is not None

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        """Connect. Raises InvalidSetting for a URL that cannot work."""
        client: Client | None = None
        scout: Client | None = None
        try:
            if self.address.watched is not None:
                self._watch = Watch(self.address.url, self.address.watched, self._options())
                await self._watch.moved()  # from now on
            client = self._connect()
            scout = client if self._watch is None else self._watch.scout(max_connections=2)
            info = await self._timed(scout.info("cluster"))
            if info.get("cluster_enabled"):
                await client.aclose()
                client = scout = RedisCluster.from_url(
                    self.address.url, max_connections=2 * self.address.pool, **self._options()
                )
                await self._timed(client.initialize())
                self.cluster = True
        except TROUBLES as error:
            await self._give_up(client, scout)
            raise translate(error, self.address.shown) from None
        except (ValueError, TypeError) as error:
            await self._give_up(client, scout)
            remedy = "See the guide for what the URL can say."
            raise InvalidSetting(FIELD, f"{self.address.shown}: {_plain(error)}", remedy) from None
        self._client, self._scout = client, scout

    async def _give_up(self, *clients: Client | None) -> None:
        watch, self._watch = self._watch, None
        for client in dict.fromkeys(clients):
            await _closed(client)
        if watch is not None:
            await watch.close()

    def _connect(self, check_every: int = IDLE) -> Redis:
        options = {"max_connections": 2 * self.address.pool, "health_check_interval": check_every}
        if self._watch is not None:
            return self._watch.client(**options)
        return Redis.from_pool(ConnectionPool.from_url(self.address.url, **options, **self._options()))

    def _options(self) -> dict[str, Any]:
        options = {
            "protocol": 2,
            "socket_timeout": self.address.timeout,
            "socket_connect_timeout": min(CONNECT_SECONDS, self.address.timeout),
            "retry": Retry(NoBackoff(), 0),
        }
        return options if self.address.url.startswith("unix:") else {**options, "socket_keepalive": True}

    async def close(self, patience: float = 1.0) -> None:
        """Wait up to `patience` seconds for the calls that are on their way, then disconnect."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=patience)
        for call in list(self._calls):
            await stop(call)
        clients = self._client, self._scout
        self._client = self._scout = None
        await self._give_up(*clients)

    async def moved(self) -> bool:
        """Sentinels made another server master since this was asked last: connections to the old one are given up.
        `command` and `run` wait until the new one is accepted."""
        if self._client is None or self._scout is None or self._watch is None or not await self._watch.moved():
            return False
        self._moves += 1
        await self._drop_idle(self._client)
        await self._drop_idle(self._scout)
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(0.0)  # what was asked of the old one is asked of the new one
        return True

    async def rest(self, seconds: float) -> None:
        """So long, or until there is reason to ask `moved`."""
        await (asyncio.sleep(seconds) if self._watch is None else self._watch.rest(seconds))

    def accept(self) -> None:
        """The server that `everywhere` looked at may be used."""
        self.unfit = None
        if self._watch is not None:
            self._watch.accept()
        self.breaker.hurry()

    # ---------------------------------------------------------------- calls

    async def command(self, *words: Any, writes: bool = False) -> Any:
        """One command, about one key. `writes`: it counts once it is where the URL wants it (`wait_aof`, `wait_replicas`);
        what is written without that waits for the next script that writes."""
        return await self._passing(lambda client: self._execute(client, writes, *words))

    async def everywhere(self, *words: Any, looking: bool = False) -> list[Any]:
        """One command to the server, or to each primary of the cluster. `looking`: past the breaker, and also to a server
        that is not accepted."""

        async def call(client: Client) -> list[Any]:
            if isinstance(client, RedisCluster):
                nodes = client.get_primaries()
                return [await client.execute_command(*words, target_nodes=node) for node in nodes]
            answer: Any = await client.execute_command(*words)  # type: ignore[no-untyped-call]
            return [answer]

        return await self._passing(call, needed=not looking)

    async def run(
        self, name: str, keys: Sequence[str], args: Sequence[Any], *, writes: bool = True, again: Sequence[Any] = ()
    ) -> Any:
        """The script `lua/<name>.lua`; in a cluster all keys have one hash tag. `again` is added to `args` when it has to be
        sent once more. `writes`: how long it takes counts as a commit."""
        code = script(name)
        words = [len(keys), *keys, *args]

        async def call(client: Client) -> Any:
            nonlocal words
            started = time.perf_counter()
            try:
                try:
                    answer = await self._execute(client, writes, "EVALSHA", code.sha, *words)
                except NoScriptError:
                    answer = await self._execute(client, writes, "EVAL", code.source, *words)
            except (*TROUBLES, asyncio.CancelledError):
                words = [len(keys), *keys, *args, *again]
                raise
            if writes:
                self.commits.took(time.perf_counter() - started)
            return answer

        return await self._passing(call)

    async def _execute(self, client: Client, writes: bool, *words: Any) -> Any:
        waits = self._settling() if writes else []
        if not waits or isinstance(client, RedisCluster):
            return await client.execute_command(*words)
        async with client.pipeline(transaction=False) as pipe:
            for command in (words, self._fence, *waits):
                pipe.execute_command(*command)
            answer, *others = await pipe.execute(raise_on_error=False)
        for trouble in (answer, *others):
            if isinstance(trouble, Exception):
                raise trouble
        for (command, wanted, *_), reached in zip(waits, others[1:], strict=True):
            if command == "WAITAOF" and not reached[0]:
                raise TimeoutError("what was written is not on the server's disk yet")
            if command == "WAIT" and reached < wanted:
                raise TimeoutError(f"what was written has reached {reached} of {wanted} replicas (wait_replicas)")
        return answer

    def _settling(self) -> list[tuple[Any, ...]]:
        """What is asked behind a write, so that it is where the URL wants it before it counts."""
        patience = int(self.address.timeout * 800)  # ms: the server gives up before we do
        waits: list[tuple[Any, ...]] = []
        if self.address.wait_aof:
            waits.append(("WAITAOF", 1, 0, patience))
        if self.address.wait_replicas:
            waits.append(("WAIT", self.address.wait_replicas, patience))
        return waits

    # ---------------------------------------------------------------- trying again

    async def _passing(self, call: Callable[[Client], Awaitable[T]], *, needed: bool = True) -> T:
        """`needed`: without the right to do this, nothing goes. What is not may use a server that is not accepted."""
        work = asyncio.create_task(self._pass(call, needed))
        self._calls.add(work)
        work.add_done_callback(self._done)
        return await asyncio.shield(work)

    def _done(self, work: asyncio.Task[Any]) -> None:
        self._calls.discard(work)
        if not work.cancelled():
            work.exception()  # its caller, if there is one still, is told

    async def _pass(self, call: Callable[[Client], Awaitable[T]], needed: bool) -> T:
        if self._client is None or self._scout is None:
            raise Unsent(f"{self.address.shown} is not open", "Use Kurir inside its `async with`.")
        if not needed:
            return await self._insist(self._scout, call, needed)
        if self.unfit is not None:
            raise Unsent(self.unfit.what, self.unfit.remedy)
        sent = False
        try:
            async with self.breaker.passing():
                sent = True
                return await self._insist(self._client, call, needed)
        except StoreAway as error:
            if sent:
                raise
            raise Unsent(error.what, error.remedy) from None

    async def _insist(self, client: Client, call: Callable[[Client], Awaitable[T]], needed: bool) -> T:
        pauses, end, moves = iter(PAUSES), time.monotonic() + PATIENCE, self._moves
        while True:
            try:
                return await self._timed(call(client))
            except TROUBLES as error:
                trouble = translate(error, self.address.shown, worked=needed and self.worked)
            if not isinstance(trouble, StoreAway):
                raise trouble
            await self._drop_idle(client)
            if moves != self._moves:
                pauses, end, moves = iter(PAUSES), time.monotonic() + PATIENCE, self._moves
            pause = next(pauses, None)
            if pause is None or time.monotonic() + pause > end:
                raise trouble
            await asyncio.sleep(pause)

    async def _timed(self, answer: Awaitable[T]) -> T:
        async with self._room:
            return await self._waited(answer, self.address.timeout + CONNECT_SECONDS)

    async def _waited(self, answer: Awaitable[T], seconds: float) -> T:
        """Raises TimeoutError after so many seconds, or when another server has become master."""
        async with asyncio.timeout(seconds) as wait:
            self._waits.add(wait)
            try:
                return await answer
            finally:
                self._waits.discard(wait)

    async def _drop_idle(self, client: Client) -> None:
        """Those that lie idle are no better than the one that broke, or lead to a server that has stepped down."""
        if isinstance(client, Redis):
            with contextlib.suppress(*TROUBLES):
                await client.connection_pool.disconnect(inuse_connections=False)

    # ---------------------------------------------------------------- hearing

    async def hear(self, channel: str) -> AsyncIterator[bytes]:
        """What is published there, on a connection of its own; b'' once it is heard. Raises StoreError when it breaks."""
        client = self._connect(check_every=0)
        silent = False
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(channel)
                yield b""
                while True:
                    hearing = pubsub.get_message(ignore_subscribe_messages=True, timeout=IDLE)
                    message = await self._waited(hearing, 2 * IDLE)
                    if message is not None:
                        silent = False
                        if message["type"] == "message":
                            yield message["data"]
                    elif silent:
                        raise TimeoutError("it does not answer any more")
                    else:
                        silent = True
                        await pubsub.ping()
        except TROUBLES as error:
            raise translate(error, self.address.shown) from None
        finally:
            await _closed(client)


async def stop(task: asyncio.Task[Any] | None) -> None:
    """End a task of ours. (More than one cancellation: `asyncio.wait_for` of Python 3.11 may swallow one.)"""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


async def _closed(client: Client | None) -> None:
    if client is not None:
        with contextlib.suppress(*TROUBLES, KurirError):
            await client.aclose()


def _plain(error: Exception) -> str:
    """What redis-py says of an option that it does not know, without what only it knows."""
    return str(error).replace("AbstractConnection.__init__() got an unexpected keyword argument", "does not know")
