"""A Redis master with replicas and the sentinels that watch it, for tests: private, and gone when the test is."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from .servers import PATIENCE, Engine, RedisServer, Server, first_redis

SERVICE = "mail"
DOWN_AFTER = 500  # ms of silence after which a sentinel takes a server for dead


class SentinelServer(Server):
    """Watches `master` as SERVICE. `epoch`: as if it had seen so many failovers. `options`: more lines of its settings."""

    def __init__(
        self,
        master: RedisServer,
        *,
        quorum: int = 1,
        epoch: int = 0,
        options: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        super().__init__(master.engine, folder, None)
        self._file = self.folder / "sentinel.conf"
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}",
            f"sentinel failover-timeout {SERVICE} 5000",
            f"sentinel parallel-syncs {SERVICE} 9",
            f"sentinel config-epoch {SERVICE} {epoch}",
            *options,
        ]
        self._file.write_text("\n".join(lines) + "\n")
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/{SERVICE}"

    def _command(self) -> list[str | Path]:
        return [self.engine.program, self._file, "--sentinel"]

    def _answers(self) -> bool:
        """With or without a password."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True)


@dataclass(frozen=True, slots=True)
class Family:
    """`url` names the sentinels."""

    master: RedisServer
    replicas: tuple[RedisServer, ...]
    sentinels: tuple[SentinelServer, ...]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def promoted(self) -> RedisServer:
        """The replica that is master now, as soon as the sentinels say so."""
        ports = {replica.port: replica for replica in self.replicas}
        end = time.monotonic() + PATIENCE
        with self.sentinels[0].client() as client:
            while (port := int(client.sentinel_get_master_addr_by_name(SERVICE)[1])) not in ports:
                assert time.monotonic() < end, self.sentinels[0].log[-4000:]
                time.sleep(0.02)
        return ports[port]


@contextmanager
def family(
    engine: Engine | None = None,
    *,
    replicas: int = 1,
    sentinels: int = 1,
    appendfsync: str = "no",
    of_replicas: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[Family]:
    """Ready for a failover. `of_replicas`: what is set otherwise there than at the master."""
    engine = engine or first_redis()
    common = {"repl-diskless-sync-delay": "0"}
    with contextlib.ExitStack() as stack:
        master, *others = (
            stack.enter_context(RedisServer(engine, appendfsync=appendfsync, options=options, folder=folder))
            for options in (common, *[{**common, **(of_replicas or {})}] * replicas)
        )
        with master.client() as client:
            for other in others:
                with other.client() as replica:
                    replica.execute_command("REPLICAOF", "127.0.0.1", master.port)
            _until(lambda: _online(client.info("replication")) == replicas)
        watching = [
            stack.enter_context(SentinelServer(master, quorum=sentinels // 2 + 1, folder=folder))
            for _ in range(sentinels)
        ]
        for sentinel in watching:
            with sentinel.client() as client:
                _until(lambda client=client: _ready(client, replicas, sentinels))
        yield Family(master, tuple(others), tuple(watching))


def _online(told: Mapping[str, object]) -> int:
    states = [value for name, value in told.items() if name.startswith("slave") and isinstance(value, dict)]
    return sum(state["state"] == "online" for state in states)


def _ready(client: redis.Redis, replicas: int, sentinels: int) -> bool:
    """It knows all there are, and enough of them to choose one."""
    known = client.sentinel_slaves(SERVICE)
    well = [one for one in known if not one["is_disconnected"] and one["master-link-status"] == "ok"]
    return len(well) == replicas and client.sentinel_master(SERVICE)["num-other-sentinels"] == sentinels - 1


def _until(true: object) -> None:
    end = time.monotonic() + PATIENCE
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)
