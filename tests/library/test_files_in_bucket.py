"""Files kept in an S3 bucket (`KURIR_FILES=s3://...`), whatever the store: handed over on one machine, sent by another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kurir import Kurir, Settings, State, StoreAway, StoreError
from kurir.app import Parts
from kurir.ports import Clock, SystemClock
from kurir.stores.s3 import S3Blobs
from kurir.stores.sqlite import SqliteStore
from kurir.stores.urls import open_store
from kurir.telegram.shared_spool import SharedSpool
from tests.buckets import BUCKET, ENVIRONMENT, S3Server, shared_bucket

from .helpers import TOKEN, stage, until

CONTENT = b"content"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def files() -> str:
    return shared_bucket().fresh()


@pytest.fixture
def private() -> Iterator[S3Server]:
    """A server to be stopped."""
    with S3Server() as server:
        yield server


class Ahead:
    """The machine's time, and some hours."""

    def __init__(self, hours: float) -> None:
        self._seconds = hours * 3600

    def now(self) -> float:
        return SystemClock().now() + self._seconds

    async def sleep(self, seconds: float) -> None:
        await SystemClock().sleep(seconds)


def machine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What is made from now on keeps its copies there."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.path.abspath(name))


def door(store: str, files: str, clock: Clock | None = None, **options: object) -> Kurir:
    """One who hands over and does not send."""
    return Kurir(store, TOKEN, courier=False, settings=Settings(), parts=Parts(clock=clock), files=files, **options)


def forget_copies(kurir: Kurir) -> None:
    assert isinstance(kurir.spool, SharedSpool)
    kurir.spool.path(SHA256).unlink()


async def kept(files: str) -> list[str]:
    bucket = S3Blobs(files)
    try:
        return await bucket.blobs(1e12)
    finally:
        await bucket.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_another_machine_sends_it_and_it_goes_with_its_message(
    engine: str, files: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    store = "sqlite:///kurir.db" if engine == "sqlite" else request.getfixturevalue("postgres_url")
    machine(monkeypatch, "here")
    async with door(store, files) as kurir:
        receipt = await kurir.send_document(5, CONTENT)
        if engine == "postgres":
            blobs = await kurir.store.blobs(1e12)  # type: ignore[attr-defined]
            assert blobs == []
    assert await kept(files) == [SHA256]

    machine(monkeypatch, "there")
    s = stage()
    async with s.kurir(open_store(store), files=files) as kurir:
        await until(lambda: s.world.messages(5) != [], s.clock)
        await kurir.end(receipt.id, 5)
    ((_, call),) = s.wire.sends()
    assert [(part.size, part.path.is_relative_to(Path("there").resolve())) for part in call.parts] == [(7, True)]
    s.world.close()

    for hours, left in ((0.5, [SHA256]), (2, [])):  # a file that came lately may belong to a message on its way
        async with door(store, files, Ahead(hours)) as kurir:
            await kurir.prune(0.0)
        assert await kept(files) == left


async def test_the_folder_beside_a_sqlite_file_is_not_used(files: str) -> None:
    async with door("sqlite:///kurir.db", files) as kurir:
        await kurir.send_document(5, CONTENT)
    assert not Path("kurir.db.files").exists()


async def test_while_the_bucket_is_away_files_wait_and_nothing_else_does(private: S3Server) -> None:
    s = stage()
    store = SqliteStore(Path("kurir.db"))
    async with s.kurir(store, files=private.fresh()) as kurir:
        receipt = await kurir.send_document(5, CONTENT, due_at=s.clock.now() + 0.2)
        forget_copies(kurir)
        private.kill()

        async def told() -> bool:
            return "cannot be reached" in ((await receipt.record()).reason or "")

        await until(told, s.clock)
        with pytest.raises(StoreAway, match=f"s3://{BUCKET}/test-.* cannot be reached"):
            await kurir.send_document(6, b"another")
        await (await kurir.send_text(7, "without a file")).delivered(5)
        record = await receipt.record()
        assert (record.state, record.tries) == (State.WAITING, 0)
        assert {r.chat for r in (await kurir.find()).items} == {"5", "7"}

        private.start()
        await receipt.delivered(10)
        await (await kurir.send_document(6, b"another")).delivered(10)
    s.world.close()


async def test_with_a_spool_files_are_accepted_while_the_bucket_is_away(private: S3Server) -> None:
    s = stage()
    files = private.fresh()
    private.kill()
    async with s.kurir(SqliteStore(Path("kurir.db")), files=files, spool=Path("spool.db")) as kurir:
        receipt = await kurir.send_document(5, CONTENT)
        assert receipt.spooled
        private.start()
        await receipt.delivered(20)
        assert await kept(files) == [SHA256]
    s.world.close()


async def test_a_bucket_that_takes_nothing_keeps_nobody_from_starting(files: str) -> None:
    """Messages without files go their way; those with files are refused with a remedy."""
    other = files.replace(BUCKET, "no-such-bucket")
    async with door("memory://", other) as kurir:
        await kurir.send_text(5, "without a file")
        with pytest.raises(StoreError, match="no such bucket") as caught:
            await kurir.send_document(5, CONTENT)
        assert "KURIR_FILES" in caught.value.remedy
        assert len((await kurir.find()).items) == 1
