"""Files kept in a store that several machines share: handed over on one, sent by another."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kurir import InvalidMessage, Kurir, Settings, State, StoreAway, Undelivered
from kurir.core.events import Crashed, Event
from kurir.ports import Clock
from kurir.services.housekeeping import Housekeeping, Retention
from kurir.stores.urls import open_store
from kurir.telegram import shared_spool
from kurir.telegram.shared_spool import SharedSpool
from kurir.telegram.spool import Spool

from .helpers import TOKEN, playing, until
from .test_processes import telegram

JPEG = b"\xff\xd8\xff" + bytes(500)
LIMIT = 50 << 20  # bytes

WORKER = """
import asyncio, sys
from kurir import Kurir, Settings
async def main():
    options = dict(settings=Settings(), telegram_url=sys.argv[3], pace="off")
    async with Kurir(sys.argv[2], sys.argv[1], **options):
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine keeps its copies."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    return tmp_path / "here"


@asynccontextmanager
async def worker_elsewhere(store: str, url: str, machine: Path) -> AsyncIterator[None]:
    """A process that sends, with a cache folder of its own."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(machine)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, TOKEN, store, url, stdout=PIPE, env=environment
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
        yield
    finally:
        process.terminate()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


def copies(machine: Path) -> list[str]:
    """The files (their SHA-256) that a machine has."""
    return sorted(path.name for path in machine.rglob("??/*") if path.is_file() and len(path.name) == 64)


def on_a_full_disk(folder: Path) -> Path:
    """A file that takes no byte."""
    path = folder / f"new-{secrets.token_hex(4)}"
    path.symlink_to("/dev/full")
    return path


def spool_of(kurir: Kurir) -> SharedSpool:
    assert isinstance(kurir.spool, SharedSpool)
    return kurir.spool


async def test_a_worker_on_another_machine_uploads_once_and_goes_by_file_id_then(
    server_url: str, machine: Path, tmp_path: Path
) -> None:
    async with telegram() as (world, url), worker_elsewhere(server_url, url, tmp_path / "there"):
        async with Kurir(server_url, TOKEN, courier=False, settings=Settings()) as kurir:
            first = await (await kurir.send_photo(5, JPEG)).delivered(15)
            second = await (await kurir.send_photo(6, JPEG)).delivered(15)
        assert first["photo"][-1]["file_id"] == second["photo"][-1]["file_id"]
        assert len(world.messages(5)) == len(world.messages(6)) == 1
    sha256 = hashlib.sha256(JPEG).hexdigest()
    assert copies(machine) == copies(tmp_path / "there") == [sha256]


async def test_a_copy_that_was_lost_is_fetched_again(server_url: str, machine: Path) -> None:
    async with playing(open_store(server_url)) as (kurir, stage):
        receipt = await kurir.send_document(5, b"content", due_at=time.time() + 0.5)
        spool_of(kurir).path(copies(machine)[0]).unlink()
        await receipt.delivered(10)
        assert len(stage.wire.sends()[0][1].parts) == 1


async def test_a_file_that_is_nowhere_ends_its_message(server_url: str, machine: Path) -> None:
    async with playing(open_store(server_url)) as (kurir, _):
        receipt = await kurir.send_document(5, b"content", due_at=time.time() + 0.5)
        (sha256,) = copies(machine)
        await spool_of(kurir).remove([sha256], grace=-1000.0)
        spool_of(kurir).path(sha256).unlink(missing_ok=True)
        with pytest.raises(Undelivered, match="file unreadable: the store has no file"):
            await receipt.delivered(10)


async def test_while_a_file_cannot_be_fetched_its_message_waits(
    server_url: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with playing(open_store(server_url)) as (kurir, _):
        store: Any = kurir.store
        receipt = await kurir.send_document(5, b"content", due_at=time.time() + 0.3)
        spool_of(kurir).path(copies(machine)[0]).unlink()

        async def away(*_: object) -> bool:
            raise StoreAway("the store is away", "Wait.")

        async def told() -> bool:
            return (await receipt.record()).reason == "the store is away"

        with monkeypatch.context() as patched:
            patched.setattr(store, "get_blob", away)
            await until(told, kurir.clock)
            record = await receipt.record()
            assert (record.state, record.tries) == (State.WAITING, 0)
        await receipt.delivered(10)


async def test_while_this_machines_disk_is_full_a_message_with_a_file_waits(
    server_url: str, machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with playing(open_store(server_url)) as (kurir, _):
        receipt = await kurir.send_document(5, b"content", due_at=time.time() + 0.3)
        spool_of(kurir).path(copies(machine)[0]).unlink()

        async def told() -> bool:
            return "no room for files" in ((await receipt.record()).reason or "")

        with monkeypatch.context() as patched:
            patched.setattr(SharedSpool, "_temporary", lambda _: on_a_full_disk(tmp_path))
            await until(told, kurir.clock)
            record = await receipt.record()
            assert (record.state.final, record.tries) == (False, 0)
        await receipt.delivered(10)


async def test_whatever_goes_wrong_with_a_file_is_no_crash(
    server_url: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    async with playing(open_store(server_url)) as (kurir, _):
        kurir.listen(events.append)
        receipt = await kurir.send_document(5, b"content", due_at=time.time() + 0.3)
        spool_of(kurir).path(copies(machine)[0]).unlink()

        async def wrong(*_: object) -> bool:
            raise KeyError("NextContinuationToken")

        async def told() -> bool:
            return (await receipt.record()).reason == "its files cannot be had: KeyError"

        with monkeypatch.context() as patched:
            patched.setattr(kurir.store, "get_blob", wrong)
            await until(told, kurir.clock)
        await receipt.delivered(10)
    assert [event for event in events if isinstance(event, Crashed)] == []


async def test_it_is_in_the_store_before_the_message_is_accepted(server_url: str, tmp_path: Path) -> None:
    async with Kurir(server_url, TOKEN, courier=False, settings=Settings()) as kurir:
        store: Any = kurir.store
        (file,) = (await (await kurir.send_document(5, b"content")).record()).files
        assert await store.get_blob(file.sha256, tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == b"content"


async def test_when_the_store_does_not_take_the_file_nothing_is_accepted(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Kurir(server_url, TOKEN, courier=False, settings=Settings()) as kurir:

        async def away(*_: object) -> None:
            raise StoreAway("the store is away", "Wait.")

        monkeypatch.setattr(kurir.store, "put_blob", away)
        with pytest.raises(StoreAway):
            await kurir.send_document(5, b"content")
        assert (await kurir.find()).items == ()


async def test_a_file_that_only_this_machine_has_joins_nobodys_transaction(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spool takes files while the store does not; a transaction of the caller's could commit all the same."""
    async with Kurir(postgres_url, TOKEN, courier=False, settings=Settings(), spool=tmp_path / "spool.db") as kurir:

        async def away(*_: object) -> None:
            raise StoreAway("the store is away", "Wait.")

        monkeypatch.setattr(kurir.store, "put_blob", away)
        with psycopg.connect(postgres_url.partition("?")[0]) as connection:
            with pytest.raises(StoreAway):
                await kurir.send_document(5, b"content", connection=connection)
            await kurir.send_text(5, "without a file", connection=connection)
        assert len((await kurir.find()).items) == 1


# ---------------------------------------------------------------- housekeeping


class _Later:
    """The store's time, and some hours."""

    def __init__(self, clock: Clock, hours: float) -> None:
        self._clock = clock
        self._hours = hours

    def now(self) -> float:
        return self._clock.now() + self._hours * 3600

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


async def test_housekeeping_removes_what_no_message_needs_after_an_hour(server_url: str, machine: Path) -> None:
    async with Kurir(server_url, TOKEN, courier=False, settings=Settings()) as kurir:
        store: Any = kurir.store
        needed = (await (await kurir.send_document(5, b"needed")).record()).files[0].sha256
        unneeded = (await spool_of(kurir).add(b"refused", name="x", max_bytes=LIMIT)).sha256
        for hours in (0.5, 1.5):
            clock: Any = _Later(kurir.clock, hours)
            spool = SharedSpool(machine / "x", store, clock)
            await Housekeeping(kurir.store, clock, spool, Retention()).prune(0.0)
            left = set(await store.blobs(clock.now()))
            assert left == ({needed, unneeded} if hours < 1 else {needed})


# ---------------------------------------------------------------- copies


class Shelf:
    """A store for files in this process, to count what is asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.gets = 0
        self.puts = 0

    async def put_blob(self, sha256: str, path: Path, now: float) -> None:
        self.puts += 1
        self.files[sha256] = path.read_bytes()

    async def get_blob(self, sha256: str, path: Path) -> bool:
        self.gets += 1
        await asyncio.sleep(0.01)
        if sha256 in self.files:
            path.write_bytes(self.files[sha256])
        return sha256 in self.files

    async def drop_blobs(self, sha256s: Any, before: float) -> int:
        return sum(self.files.pop(sha256, None) is not None for sha256 in sha256s)

    async def blobs(self, before: float) -> list[str]:
        return list(self.files)


class _Clock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def spool(folder: Path, shelf: Shelf, room: int = 10_000) -> SharedSpool:
    return SharedSpool(folder, shelf, _Clock(), room)


async def test_a_file_for_many_messages_is_put_once(tmp_path: Path) -> None:
    shelf = Shelf()
    one = spool(tmp_path, shelf)
    for _ in range(100):
        await one.add(b"the same", name="x", max_bytes=LIMIT)
    assert shelf.puts == 1


async def test_who_needs_the_same_copy_at_once_fetches_it_once(tmp_path: Path) -> None:
    shelf = Shelf()
    blob = await spool(tmp_path / "here", shelf).add(b"the same", name="x", max_bytes=LIMIT)
    there = spool(tmp_path / "there", shelf)
    await asyncio.gather(*(there.fetch([blob.sha256]) for _ in range(10)))
    assert shelf.gets == 1
    assert there.path(blob.sha256).read_bytes() == b"the same"


async def test_a_copy_that_was_damaged_on_its_way_is_not_kept(tmp_path: Path) -> None:
    shelf = Shelf()
    sha256 = "0" * 64
    shelf.files[sha256] = b"something else"
    there = spool(tmp_path, shelf)
    await there.fetch([sha256])
    assert not await there.exists(sha256)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"] == []


async def test_an_upload_of_another_machine_can_be_named_here(tmp_path: Path) -> None:
    """What `POST /v1/files` kept at one door is asked for at another."""
    shelf = Shelf()
    blob = await spool(tmp_path / "there", shelf).add(b"content", name="x", max_bytes=LIMIT)
    here = spool(tmp_path / "here", shelf)
    assert here.may_keep(blob.sha256)
    assert await here.add(here.path(blob.sha256), name="x", max_bytes=LIMIT) == blob
    with pytest.raises(InvalidMessage, match="Upload it again"):
        await here.add(here.path("0" * 64), name="x", max_bytes=LIMIT)


async def test_copies_beyond_the_room_go_the_ones_unused_for_longest_first(tmp_path: Path) -> None:
    shelf = Shelf()
    one = spool(tmp_path, shelf, room=2500)
    blobs = [await one.add(bytes([n]) * 1000, name="x", max_bytes=LIMIT) for n in range(4)]
    await one.sweep()
    assert len(copies(tmp_path)) == 4  # all are in use
    unused = time.time() - shared_spool.IN_USE - 100
    for age, n in enumerate((2, 0, 1, 3)):
        os.utime(one.path(blobs[n].sha256), (unused + age, unused + age))
    await one.sweep()
    assert copies(tmp_path) == sorted(blobs[n].sha256 for n in (1, 3))
    assert len(shelf.files) == 4


async def test_a_process_that_only_hands_over_keeps_to_the_room_too(tmp_path: Path) -> None:
    shelf = Shelf()
    one = spool(tmp_path, shelf, room=8000)
    unused = time.time() - shared_spool.IN_USE - 100
    for n in range(50):
        blob = await one.add(bytes([n]) * 1000, name="x", max_bytes=LIMIT)
        os.utime(one.path(blob.sha256), (unused, unused))
    assert len(copies(tmp_path)) <= 10


async def test_fifty_megabytes_pass_with_little_memory(server_url: str, tmp_path: Path) -> None:
    source = tmp_path / "large"
    with source.open("wb") as file:
        for _ in range(50):
            file.write(os.urandom(1 << 20))
    program = """
import asyncio, resource, sys
from pathlib import Path
from kurir import Kurir, Settings
async def main():
    options = dict(settings=Settings(), courier=False)
    async with Kurir(sys.argv[2], sys.argv[1], **options) as kurir:
        await kurir.send_document(5, b"warm up")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await kurir.send_document(5, Path(sys.argv[3]))
        (sha256,) = {f.sha256 for r in (await kurir.find()).items for f in r.files if f.size > 100}
        kurir.spool.path(sha256).unlink()
        await kurir.spool.fetch([sha256])
        assert kurir.spool.path(sha256).stat().st_size == 50 << 20
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, TOKEN, server_url, str(source), stdout=PIPE
    )
    grown, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    print(f"{int(grown) / 1024:.1f} MB")
    assert int(grown) < 16 * 1024  # KiB


# ---------------------------------------------------------------- where they are kept


async def test_a_folder_that_is_set_is_used_whatever_the_store(server_url: str, tmp_path: Path) -> None:
    async with Kurir(server_url, TOKEN, courier=False, settings=Settings(), files=tmp_path / "shared") as kurir:
        assert type(kurir.spool) is Spool
        await kurir.send_document(5, b"content")
        store: Any = kurir.store
        assert await store.blobs(time.time() + 1000) == []
        assert len(copies(tmp_path / "shared")) == 1


def test_copies_are_this_users_alone_and_each_stores_apart(machine: Path) -> None:
    first, second = shared_spool.cache_folder("redis://a"), shared_spool.cache_folder("redis://b")
    assert first != second
    assert first == shared_spool.cache_folder("redis://a")
    assert first.parent == machine / "kurir"
    assert first.stat().st_mode & 0o077 == 0


def test_a_user_without_a_cache_has_a_folder_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = shared_spool.cache_folder("redis://a")
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path)
