"""A Kurir before a simulated Telegram, in virtual time or real."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson

from kurir import Kurir, Parts, Settings
from kurir.core.events import Event
from kurir.core.outcome import Answer
from kurir.ports import Call, Clock, Store, SystemClock
from kurir.simulator import InProcessTransport, Limits, World
from kurir.stores.memory import MemoryStore
from kurir.stores.sqlite import SqliteStore
from tests import virtual

TOKEN = "123456:AAsecret-token-of-the-shop"
BOT = 123456
NEWS_TOKEN = "654321:BBsecret-token-of-the-news"
EPOCH = virtual.EPOCH

T = TypeVar("T")


class Loop(virtual.VirtualLoop):
    """What is given to threads is done at once: while a thread works, virtual time would run away."""

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test runs in a loop where waiting takes no time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(test(*args, **kwargs))

    return run


class Wire:
    """A transport that notes what passes. `calls`: (Unix seconds, call)."""

    def __init__(self, world: World, clock: Clock, latency: float) -> None:
        self.calls: list[tuple[float, Call]] = []
        self.answers: list[Answer] = []
        self._clock = clock
        self._inner = InProcessTransport(world, clock, latency=latency)

    async def call(self, call: Call) -> Answer:
        self.calls.append((self._clock.now(), call))
        answer = await self._inner.call(call)
        self.answers.append(answer)
        return answer

    async def close(self) -> None:
        await self._inner.close()

    def sends(self) -> list[tuple[float, Call]]:
        """All but probes."""
        return [(at, call) for at, call in self.calls if call.method != "getMe"]

    def times(self) -> list[float]:
        """Seconds since the beginning of virtual time at which sends left."""
        return [round(at - EPOCH, 3) for at, _ in self.sends()]


class Stage:
    """One simulated Telegram, and as many Kurirs before it as a test needs."""

    def __init__(self, clock: Clock, *, limits: Limits | None = None, latency: float = 0.0) -> None:
        self.clock = clock
        self.world = World(clock, seed=1, limits=limits or Limits.none(), open_doors=True)
        self.world.add_bot(TOKEN)
        self.wire = Wire(self.world, clock, latency)
        self.heard: list[Event] = []
        self._holders = 0

    def kurir(self, store: Store | None = None, *, settings: Settings | None = None, **options: Any) -> Kurir:
        self._holders += 1
        parts = Parts(
            transport=self.wire,
            clock=self.clock,
            rng=random.Random(self._holders),
            holder=f"holder-{self._holders}",
            listeners=(self.heard.append,),
            journal=options.pop("journal", None),
        )
        token = None if settings is not None else TOKEN
        options.setdefault("pace", "off")
        return Kurir(store or MemoryStore(), token, settings=settings or Settings(), parts=parts, **options)

    def texts(self, chat: int) -> list[str]:
        """What is to be read in a chat, oldest first."""
        return [message.text for message in self.world.messages(chat)]

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)


def stage(**options: Any) -> Stage:
    """A stage in the running loop's time."""
    loop = asyncio.get_running_loop()
    clock: Clock = virtual.clock() if isinstance(loop, virtual.VirtualLoop) else SystemClock()
    return Stage(clock, **options)


@asynccontextmanager
async def playing(store: Store | None = None, **options: Any) -> AsyncIterator[tuple[Kurir, Stage]]:
    """A started Kurir on a stage."""
    theirs = {name: options.pop(name) for name in ("limits", "latency") if name in options}
    s = stage(**theirs)
    try:
        async with s.kurir(store, **options) as kurir:
            yield kurir, s
    finally:
        s.world.close()


async def until(condition: Callable[[], bool | Awaitable[bool]], clock: Clock, within: float = 10.0) -> None:
    """Wait for what is to become true."""
    end = clock.now() + within
    while True:
        met = condition()
        if not isinstance(met, bool):
            met = await met
        if met:
            return
        assert clock.now() < end, "it did not come about"
        await clock.sleep(0.01)


def params(call: Call) -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads(call.params)
    return loaded


def a_store(kind: str, folder: Path) -> Store:
    """A store for virtual time."""
    return MemoryStore() if kind == "memory" else SqliteStore(folder / "kurir.db", inline=True)
