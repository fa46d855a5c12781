"""Files kept in an S3 bucket (`KURIR_FILES=s3://...`), whatever the store: handed over on one machine, sent by another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kurir import Kurir, Message, Settings, State, StoreAway, StoreError
from kurir.app import Parts
from kurir.core.events import Event, StoreBack, StoreTrouble
from kurir.ports import Cancel, Clock, Query, SystemClock
from kurir.services.housekeeping import BATCH, Housekeeping, Retention
from kurir.stores.s3 import S3Blobs
from kurir.stores.s3.address import parse
from kurir.stores.sqlite import SqliteStore
from kurir.stores.urls import open_store
from kurir.telegram.shared_spool import SharedSpool
from tests.buckets import BUCKET, ENVIRONMENT, S3Server, shared_bucket

from .helpers import TOKEN, stage, until
from .test_shared_files import on_a_full_disk

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
        assert (record.state.final, record.tries) == (False, 0)
        assert {r.chat for r in (await kurir.find()).items} == {"5", "7"}

        private.start()
        await receipt.delivered(10)
        await (await kurir.send_document(6, b"another")).delivered(10)
    s.world.close()


async def test_while_this_machines_disk_is_full_a_message_with_a_file_waits(
    files: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    s = stage()
    async with s.kurir(SqliteStore(Path("kurir.db")), files=files) as kurir:
        receipt = await kurir.send_document(5, CONTENT, due_at=s.clock.now() + 0.2)
        forget_copies(kurir)

        async def told() -> bool:
            return "no room for files" in ((await receipt.record()).reason or "")

        with monkeypatch.context() as patched:
            patched.setattr(SharedSpool, "_temporary", lambda _: on_a_full_disk(tmp_path))
            await until(told, s.clock)
            record = await receipt.record()
            assert (record.state.final, record.tries) == (False, 0)
        await receipt.delivered(10)
    s.world.close()


async def test_with_a_prefix_that_is_wrong_a_message_is_tried_again_and_says_where_its_file_was_looked_for(
    files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, "here")
    async with door("sqlite:///kurir.db", files) as kurir:
        receipt = await kurir.send_document(5, CONTENT)
    machine(monkeypatch, "there")
    wrong, s = shared_bucket().fresh(), stage()
    async with s.kurir(SqliteStore(Path("kurir.db")), files=wrong) as kurir:
        reason = f"file unreadable: {parse(wrong)} has no file {SHA256}; check KURIR_FILES"

        async def told() -> bool:
            return (await kurir.get(receipt.id)).reason == reason

        await until(told, s.clock)
        record = await kurir.get(receipt.id)
        assert (record.state, record.tries) == (State.WAITING, 1)
    async with s.kurir(SqliteStore(Path("kurir.db")), files=files) as kurir:
        assert (await kurir.end(receipt.id, 10)).state == State.DELIVERED
    s.world.close()


async def test_a_file_that_is_damaged_in_the_bucket_is_named(files: str, tmp_path: Path) -> None:
    async with door("sqlite:///kurir.db", files) as kurir:
        receipt = await kurir.send_document(5, CONTENT, max_attempts=1)
        forget_copies(kurir)
    other = tmp_path / "other"
    other.write_bytes(b"another")
    bucket = S3Blobs(files)
    await bucket.drop_blobs([SHA256], 1e12)
    await bucket.put_blob(SHA256, other, SystemClock().now())
    await bucket.close()
    s = stage()
    async with s.kurir(SqliteStore(Path("kurir.db")), files=files) as kurir:
        record = await kurir.end(receipt.id, 10)
        assert record.state == State.DEAD
        assert f"the file {SHA256} in {parse(files)} is damaged" in (record.reason or "")
    s.world.close()


async def test_history_goes_while_the_bucket_is_away_and_that_its_files_stay_is_told(private: S3Server) -> None:
    files = private.fresh()
    events: list[Event] = []
    async with door("memory://", files) as kurir:
        await kurir.send_document(5, CONTENT)
        await kurir.submit([Message("sendMessage", {"chat_id": 5, "text": "x"}) for _ in range(BATCH + 1)])
        while await kurir.store.alter(Query(limit=BATCH), Cancel("not needed"), kurir.clock.now()):
            pass
        later = Ahead(48)
        housekeeping = Housekeeping(kurir.store, later, kurir.spool, Retention(), events.append)
        private.kill()
        for _ in range(2):
            with pytest.raises(StoreAway):
                await housekeeping.prune(later.now())
        assert (await kurir.find()).items == ()
        private.start()
        await until(lambda: pruned(housekeeping, later), SystemClock(), 20)
    assert [type(event) for event in events] == [StoreTrouble, StoreBack]
    assert f"s3://{BUCKET}/test-" in events[0].error  # type: ignore[union-attr]


async def pruned(housekeeping: Housekeeping, clock: Clock) -> bool:
    try:
        await housekeeping.prune(clock.now())
    except StoreAway:  # it is asked again in a while
        return False
    return True


async def test_with_a_spool_files_are_accepted_while_the_bucket_is_away(private: S3Server) -> None:
    s = stage()
    files = private.fresh()
    private.kill()
    async with s.kurir(SqliteStore(Path("kurir.db")), files=files, spool=Path("spool.db")) as kurir:
        receipt = await kurir.send_document(5, CONTENT)
        assert receipt.spooled
        await (await kurir.send_text(6, "without a file")).delivered(20)
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
