"""Private PostgreSQL and Redis for the benchmarks: on a real disk, as durable as PostgreSQL is by default and as Redis can
be (every write is flushed before it is answered). Kurir and its peers each get a database of their own in the same server.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from redis import ResponseError
from tests.servers import Engine, PostgresServer, RedisServer, postgres_engines, redis_engines

from .usage import cpu_of_family

FROM_PATH = ("/usr/", "/opt/", "/bin/")
DATABASES = 16  # of a Redis
ELSEWHERE = Path("/var/tmp")  # on a disk, by convention
PATIENCE = 120.0  # seconds for Redis to write its log anew


class Database(Protocol):
    """A server under test."""

    name: str  # "PostgreSQL 15.16"
    kind: str  # "postgres" or "redis"

    def fresh(self) -> AbstractContextManager[str]:
        """The URL of an empty database of its own, dropped in the end. Nothing is left to do in the server from
        earlier ones when it begins."""
        ...

    def settle(self) -> None:
        """Let the server finish what it does on the side after much was written."""

    def cpu(self) -> float:
        """Seconds of CPU, user's and system's, of all its processes so far."""
        ...


class Postgres:
    """PostgreSQL with its default settings, but for room for more connections."""

    kind = "postgres"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self.name = f"PostgreSQL {server.engine.name.partition('-')[2]}"

    @contextmanager
    def fresh(self) -> Iterator[str]:
        name = f"bench_{next(self._numbers)}"
        self._server.execute(f"CREATE DATABASE {name}")
        self.settle()
        try:
            yield self._server.url.rpartition("/")[0] + f"/{name}"
        finally:
            self._server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def settle(self) -> None:
        self._server.execute("CHECKPOINT")

    def cpu(self) -> float:
        return cpu_of_family(self._server.pid)

    def size(self, url: str) -> int:
        """Bytes of a database's files."""
        self.settle()
        ((size,),) = self._server.execute(f"SELECT pg_database_size('{url.rpartition('/')[2]}')")
        assert isinstance(size, int)
        return size


class Redis:
    """Redis or Valkey with `appendonly yes` and `appendfsync always`."""

    kind = "redis"

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._free = list(range(DATABASES))
        product, _, version = server.engine.name.partition("-")
        self.name = f"{product.capitalize()} {version}"

    @contextmanager
    def fresh(self) -> Iterator[str]:
        number = self._free.pop(0)
        self.settle()
        try:
            yield self._server.url.rpartition("/")[0] + f"/{number}"
        finally:
            self.settle()
            with self._server.client() as client, suppress(ResponseError):  # it began to by itself
                client.select(number)
                client.flushdb()
                client.bgrewriteaof()
            self.settle()
            self._free.append(number)

    def settle(self) -> None:
        until = time.monotonic() + PATIENCE
        with self._server.client() as client:
            while self._rewriting(client.info("persistence")):
                if time.monotonic() > until:
                    raise RuntimeError("Redis does not come to an end with writing its log anew")
                time.sleep(0.05)

    @staticmethod
    def _rewriting(info: dict[str, int]) -> bool:
        return bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"] or info["rdb_bgsave_in_progress"])

    def cpu(self) -> float:
        return cpu_of_family(self._server.pid)

    def memory(self) -> int:
        """Bytes that it uses for everything, as it counts them itself."""
        self.settle()
        with self._server.client() as client:
            return int(client.info("memory")["used_memory"])


@contextmanager
def postgres(tmp: Path, wanted: Sequence[str] = ()) -> Iterator[Postgres]:
    """The server while it runs, from PATH or else a wheel. `wanted`: beginnings of the names of engines, first come."""
    engine = _chosen("PostgreSQL", postgres_engines(), wanted, from_path=True)
    with PostgresServer(engine, fsync=True, options={"shared_buffers": "128MB"}, folder=_open_to_all(tmp)) as server:
        yield Postgres(server)


@contextmanager
def redis(tmp: Path, wanted: Sequence[str] = ()) -> Iterator[Redis]:
    """The same; from a wheel or else from PATH."""
    engine = _chosen("Redis", redis_engines(), wanted, from_path=False)
    with RedisServer(engine, appendfsync="always", folder=tmp) as server:
        yield Redis(server)


def _chosen(what: str, engines: Sequence[Engine], wanted: Sequence[str], *, from_path: bool) -> Engine:
    if not engines:
        raise RuntimeError(f"no {what} to measure: pip install -e '.[dev]' brings one, or put it in PATH")
    ranked = sorted(engines, key=lambda engine: from_path and not str(engine.program).startswith(FROM_PATH))
    for beginning in wanted:
        for engine in ranked:
            if engine.name.startswith(beginning):
                return engine
    return ranked[0]


def _open_to_all(tmp: Path) -> Path:
    """A folder that PostgreSQL's user gets to: it does not run as root. That is `tmp`, unless it lies in root's home."""
    tmp.chmod(0o755)
    reachable = os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in tmp.parents)
    return tmp if reachable else ELSEWHERE
