"""The stores under contract, each as a place of its own that handles are opened on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from kurir.ports import Store
from kurir.stores.memory import MemoryStore
from kurir.stores.postgres import PostgresStore
from kurir.stores.redis import RedisStore
from kurir.stores.sqlite import SqliteStore
from tests.servers import Engine, first_postgres, first_redis, postgres_engines, redis_engines, shared

# Makes a handle, not opened yet; all of one place see the same.
Place = Callable[[], Store]
Places = Callable[[Path], AbstractContextManager[Place]]

# Enough of the contract for other versions of a server: what a version could differ in is the language and the types.
SMOKE = frozenset({"test_settle", "test_submit"})


@contextmanager
def memory(folder: Path) -> Iterator[Place]:
    store = MemoryStore()
    yield lambda: store


@contextmanager
def sqlite(folder: Path) -> Iterator[Place]:
    yield lambda: SqliteStore(folder / "kurir.db")


@contextmanager
def server(engine: Callable[[], Engine], folder: Path) -> Iterator[Place]:
    """A schema or prefix of its own on this process' server; the caller's `now` counts, so that tests control time."""
    make = PostgresStore if engine().kind == "postgres" else RedisStore
    with shared(engine()).fresh() as url:
        yield lambda: make(url, own_clock=False)


def _others() -> dict[str, Places]:
    """Further versions of the servers that are installed, by product and major version."""
    others = (*postgres_engines()[1:], *redis_engines()[1:])
    return {engine.name.partition(".")[0]: partial(server, lambda engine=engine: engine) for engine in others}


STORES: dict[str, Places] = {
    "memory": memory,
    "sqlite": sqlite,
    "postgres": partial(server, first_postgres),
    "redis": partial(server, first_redis),
}
OTHERS = _others()


def stores_for(module: str) -> list[str]:
    """The names of the stores that a module's tests run over: other versions of PostgreSQL see part of the contract."""
    others = [name for name in OTHERS if not name.startswith("postgres") or module in SMOKE]
    return [*STORES, *others]
