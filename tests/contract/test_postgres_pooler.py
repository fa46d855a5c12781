"""PostgreSQL behind a pooler that gives each transaction whatever server connection is free, as PgBouncer does."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kurir.core.message import State
from kurir.ports import Query, Settlement
from kurir.stores.postgres import PostgresStore
from tests.servers import PostgresServer
from tests.serving import free_port

from .steps import BOT, FOREVER, Post, draft, ids

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
KEY_DATA = b"K\x00\x00\x00\x0c"  # BackendKeyData: the process id and a secret follow


class Disguise:
    """A proxy before PostgreSQL that makes up process ids, by which a pooler is known. `listens` counts what was asked that
    would be lost behind a real one."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._tasks: set[asyncio.Task[None]] = set()
        self.listens = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()
        for task in list(self._tasks):
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._forward(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                self.listens += data.count(b"LISTEN")
                at = data.find(KEY_DATA)
                if at >= 0:
                    made_up = struct.pack(">I", 2_000_000_000)
                    data = data[: at + len(KEY_DATA)] + made_up + data[at + len(KEY_DATA) + 4 :]
                target.write(data)
                await target.drain()
        except ConnectionError:
            return
        finally:
            target.close()


async def go_through_a_life(store: PostgresStore, other: PostgresStore) -> None:
    """What a message can meet; `other` is a handle of another process."""
    post = Post(store)
    now = time.time()
    [post.lease] = await store.lease("courier", [BOT], now + 60, now)
    await asyncio.gather(*(store.submit([draft(str(n), str(n))], now) for n in range(30)))
    claims = (await store.claim(post.lease, now, 20)).claims
    assert all(await store.settle([Settlement(claim, State.DELIVERED) for claim in claims], now))
    await store.steer(BOT, chat="29", until=FOREVER)
    assert len((await store.find(Query(states=(State.WAITING,)))).items) == 10
    assert len((await store.claim(post.lease, now, 20)).claims) == 9
    [stats] = (await store.stats()).bots
    assert (stats.delivered, stats.waiting, stats.sending) == (20, 10, 9)
    await other.watch(0.6)
    watching = asyncio.create_task(other.watch(60))
    await asyncio.sleep(0.3)
    await store.submit([draft("new", "new")], now)
    await asyncio.wait_for(watching, 5)
    assert ids(await store.claim(post.lease, now, 20)) == ["new"]


async def behind(port: int, server: PostgresServer, url: str) -> None:
    """All goes well through the pooler at that port, and people are told what is lost."""
    url = url.replace(f":{server.port}/", f":{port}/")
    store, other = PostgresStore(url), PostgresStore(url)
    await store.open()
    await other.open()
    try:
        await go_through_a_life(store, other)
        assert any("pooler" in warning for warning in (await store.stats()).store["warnings"])
    finally:
        await store.close()
        await other.close()


async def test_it_is_noticed_and_nothing_depends_on_a_session(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    disguise = Disguise(postgres_server.port)
    async with disguise.serving() as port:
        await behind(port, postgres_server, postgres_url)
        assert disguise.listens == 0


@asynccontextmanager
async def pgbouncer(program: str, server: PostgresServer, folder: Path) -> AsyncIterator[int]:
    """The real one, with fewer server connections than it has clients."""
    port = free_port()
    folder.chmod(0o755)
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
        f"listen_port={port}\nunix_socket_dir=\nauth_type=any\npool_mode=transaction\ndefault_pool_size=3\n"
    )
    settings.chmod(0o644)
    user = ("-u", "nobody") if os.geteuid() == 0 else ()  # it does not run as root
    process = await asyncio.create_subprocess_exec(program, *user, str(settings), stderr=subprocess.DEVNULL, cwd="/")
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield port
    finally:
        process.terminate()
        await process.wait()


if PGBOUNCER is not None:  # where it is not installed, the disguise has to do

    async def test_pgbouncer_in_transaction_mode(
        postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
    ) -> None:
        async with pgbouncer(PGBOUNCER, postgres_server, tmp_path) as port:
            await behind(port, postgres_server, postgres_url)
