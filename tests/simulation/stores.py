"""The stores of a simulation. Those on real servers run in an event loop of their own, in real time, while the simulation's
loop stands still: a verb begins and ends at one moment of virtual time, so that a seed replays exactly."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from kurir.ports import Store
from kurir.stores.memory import MemoryStore
from kurir.stores.memory.watchers import Watchers
from kurir.stores.sqlite import SqliteStore
from tests.contract import stores as contract

T = TypeVar("T")
VERB_TIMEOUT = 60.0  # real seconds; nobody disturbs these servers
HEARD_OF = ("submit", "settle", "alter", "steer", "suppress", "close")  # by those who watch
OTHERS = ("open", "lease", "claim", "adopt", "prune", "attend", "find", "stats", "lanes")


class Room:
    """A thread with an event loop in which real time goes on."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="real time").start()

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        """To its end, while the caller's loop stands still."""
        return asyncio.run_coroutine_threadsafe(coro, self._loop).result(VERB_TIMEOUT)


@functools.cache
def room() -> Room:
    return Room()


class Stepwise:
    """A store on a server, as processes in virtual time see it. Who watches hears of a change in the same run at once."""

    def __init__(self, store: Store, watchers: Watchers) -> None:
        self._store = store
        self._watchers = watchers

    async def watch(self, timeout: float) -> None:
        await self._watchers.watch(timeout)


def _verb(name: str) -> Callable[..., Awaitable[Any]]:
    async def verb(self: Stepwise, *args: Any, **kwargs: Any) -> Any:
        result = room().run(getattr(self._store, name)(*args, **kwargs))
        if name in HEARD_OF:
            self._watchers.changed()
        return result

    return verb


for _name in (*HEARD_OF, *OTHERS):
    setattr(Stepwise, _name, _verb(_name))


@contextmanager
def _memory(folder: Path) -> Iterator[contract.Place]:
    store = MemoryStore()
    yield lambda: store


@contextmanager
def _sqlite(folder: Path) -> Iterator[contract.Place]:
    yield lambda: SqliteStore(folder / "kurir.db", inline=True)


@contextmanager
def _server(name: str, folder: Path) -> Iterator[contract.Place]:
    watchers = Watchers()
    with contract.STORES[name](folder) as place:
        yield lambda: Stepwise(place(), watchers)  # type: ignore[return-value]


# Where all processes of a run meet: each opens a handle of its own.
STORES: dict[str, contract.Places] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgres": functools.partial(_server, "postgres"),
    "redis": functools.partial(_server, "redis"),
}
