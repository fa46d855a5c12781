"""The spool: while the store is away messages are accepted on this machine, and reach the store in order, each once."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from kurir import Settings
from kurir.blocking import BlockingKurir
from kurir.core.errors import (
    NotFound,
    SchemaMismatch,
    StoreAway,
    StoreError,
    StoreFull,
)
from kurir.core.events import (
    Crashed,
    Forwarded,
    SpoolingBegan,
    SpoolingEnded,
    StoreTrouble,
    Unforwardable,
)
from kurir.core.message import FileRef, State
from kurir.ports import Query
from kurir.services.shelter import Shelter
from kurir.stores.journal import Journal
from kurir.stores.memory import MemoryStore
from kurir.telegram.spool import GRACE, Spool
from tests.outages import with_outages
from tests.serving import free_port

from .helpers import BOT, TOKEN, a_store, in_virtual_time, until
from .spooling import Scene, holds, playing

# ---------------------------------------------------------------- accepted and forwarded


@in_virtual_time
async def test_while_the_store_is_away_a_message_is_accepted_and_says_that_it_is_spooled(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        receipt = await kurir.send_text(42, "Hello")
        assert (receipt.spooled, receipt.duplicate, receipt.state) == (True, False, State.WAITING)
        scene.outages.come_back()
        assert (await receipt.delivered(timeout=30))["text"] == "Hello"
        assert scene.stage.texts(42) == ["Hello"]
        assert not (await kurir.send_text(42, "Again")).spooled


@in_virtual_time
async def test_without_a_spool_the_store_away_is_an_error_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.stage.kurir(scene.store) as kurir:
        scene.outages.leave()
        began = scene.clock.now()
        with pytest.raises(StoreAway, match="Start the server"):
            await kurir.send_text(42, "Hello")
        assert scene.clock.now() == began
        scene.outages.come_back()


@in_virtual_time
async def test_who_does_not_want_the_spool_gets_the_error_and_nothing_is_kept(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        with pytest.raises(StoreAway, match="connection refused"):
            await kurir.submit("sendMessage", {"chat_id": 42, "text": "Now or never"}, spool=False)
        assert not holds(kurir)
        await kurir.send_text(42, "Later will do")
        scene.outages.come_back()
        with pytest.raises(StoreAway, match="go first"):
            await kurir.submit("sendMessage", {"chat_id": 42, "text": "Behind it"}, spool=False)
        await until(lambda: scene.stage.texts(42) == ["Later will do"], scene.clock)


@in_virtual_time
async def test_the_order_of_acceptance_holds_across_the_spool(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        texts = [f"number {number}" for number in range(30)]
        for number, text in enumerate(texts):
            if number == 5:
                scene.outages.leave()
            if number == 20:
                scene.outages.come_back()  # what comes now still goes behind what is spooled
            receipt = await kurir.send_text(42, text)
            assert receipt.spooled is (number >= 5)
        await until(lambda: len(scene.stage.texts(42)) == 30, scene.clock, 60)
        assert scene.stage.texts(42) == texts


@in_virtual_time
async def test_a_full_store_is_away_too(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave(StoreFull("no room left", "Free some."))
        assert (await kurir.send_text(42, "Hello")).spooled
        scene.outages.come_back()
        await until(lambda: scene.stage.texts(42) == ["Hello"], scene.clock)


@in_virtual_time
async def test_a_store_that_does_not_answer_is_not_waited_for_long(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        stuck = asyncio.Event()

        async def hang(verb: str) -> None:
            await stuck.wait()

        scene.outages.before = hang
        began = scene.clock.now()
        receipt = await kurir.send_text(42, "Hello")
        assert receipt.spooled
        assert scene.clock.now() - began <= 3.1
        scene.outages.before = None
        stuck.set()  # the submit that hung is carried out now, beside the forwarded one
        await receipt.delivered(timeout=30)
        await scene.sleep(60)
        assert scene.stage.texts(42) == ["Hello"]


@in_virtual_time
async def test_a_submit_whose_answer_was_lost_is_not_doubled_by_the_spool(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.lost = ["submit"]
        receipt = await kurir.send_text(42, "Hello", idempotency_key="k")
        assert receipt.spooled
        await receipt.delivered(timeout=30)
        await scene.sleep(60)
        assert scene.stage.texts(42) == ["Hello"]
        assert not holds(kurir)


@in_virtual_time
async def test_accepted_at_is_when_it_was_accepted_and_what_expired_meanwhile_ends_expired(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        accepted_at = scene.clock.now()
        kept = await kurir.send_text(42, "Hello")
        late = await kurir.send_text(43, "Too late", expires_at=accepted_at + 60)
        await scene.sleep(120)
        scene.outages.come_back()
        assert (await kept.ended(timeout=30)).accepted_at == accepted_at
        assert (await late.ended(timeout=30)).state is State.EXPIRED
        assert scene.stage.texts(43) == []


@in_virtual_time
async def test_edits_still_collapse_and_suppressed_chats_are_still_not_written_to(tmp_path: Path) -> None:
    async with playing(tmp_path, courier=False) as (kurir, scene):
        await kurir.suppress(BOT, "43", "blocked")
        scene.outages.leave()
        edit = {"chat_id": 42, "message_id": 7}
        first = await kurir.submit("editMessageText", {**edit, "text": "a"})
        second = await kurir.submit("editMessageText", {**edit, "text": "ab"})
        to_suppressed = await kurir.send_text(43, "Hello?")
        assert to_suppressed.state is State.WAITING  # nobody could know
        scene.outages.come_back()
        await until(lambda: not holds(kurir), scene.clock)
        assert (await kurir.get(first.id)).superseded_by == second.id
        assert (await kurir.get(to_suppressed.id)).reason == "suppressed: blocked"


@in_virtual_time
async def test_it_is_told_when_spooling_begins_and_ends(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        for number in range(3):
            await kurir.send_text(42 + number, "Hello")
        await scene.sleep(10)
        scene.outages.come_back()
        await until(lambda: not holds(kurir), scene.clock)
        (began,) = scene.heard(SpoolingBegan)
        assert "connection refused" in began.why
        assert sum(len(event.drafts) for event in scene.heard(Forwarded)) == 3
        (ended,) = scene.heard(SpoolingEnded)
        assert ended.messages == 3
        assert 10 <= ended.seconds < 15


@in_virtual_time
async def test_files_of_spooled_messages_outlast_every_clean_up_of_the_folder(tmp_path: Path) -> None:
    async with playing(tmp_path, files=tmp_path / "files") as (kurir, scene):
        scene.outages.leave()
        receipt = await kurir.send_photo(42, b"%a photo")
        assert receipt.spooled
        assert kurir.spool is not None
        (sha256,) = await kurir.spool.blobs(older_than=0)
        await kurir.spool.remove([sha256], grace=0)  # as housekeeping elsewhere may: no stored message needs it
        scene.outages.come_back()
        await receipt.delivered(timeout=30)
        assert await kurir.spool.blobs(older_than=0) == [sha256]


async def test_what_no_spooled_message_needs_leaves_the_shelter(tmp_path: Path) -> None:
    kept, spool = Spool(tmp_path / "kept"), Spool(tmp_path / "files")
    blobs = [await spool.add(data, name="photo", max_bytes=100) for data in (b"needed", b"old", b"new")]
    shelter = Shelter(kept, spool)
    await shelter.take_in([FileRef("photo", blob.sha256, blob.size, "a.jpg", "image/jpeg", "photo") for blob in blobs])
    for blob in blobs[:2]:
        os.utime(kept.path(blob.sha256), (0, time.time() - GRACE - 1))
    await shelter.sweep({blobs[0].sha256})
    assert sorted(await kept.blobs(older_than=0)) == sorted([blobs[0].sha256, blobs[2].sha256])


# ---------------------------------------------------------------- looked at and waited for


@in_virtual_time
async def test_a_spooled_message_can_be_looked_at_by_its_id(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        before = await kurir.send_text(41, "Stored")
        await before.delivered(timeout=10)
        scene.outages.leave()
        receipt = await kurir.send_text(42, "Hello", metadata={"order": "1"})
        record = await kurir.get(receipt.id)
        assert (record.state, record.metadata) == (State.WAITING, {"order": "1"})
        assert (record.reason or "").startswith("spooled: ")
        assert (await kurir.find(ids=(receipt.id,))).items == (record,)
        for elsewhere in (before.id, "nobody"):
            with pytest.raises(StoreAway):
                await kurir.get(elsewhere)
        with pytest.raises(StoreAway):
            await kurir.find(chat=42)
        scene.outages.come_back()
        await receipt.delivered(timeout=10)
        assert (await kurir.get(receipt.id)).state is State.DELIVERED
        with pytest.raises(NotFound):
            await kurir.get("nobody")


@in_virtual_time
async def test_receipts_wait_through_the_outage(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        receipt = await kurir.send_text(42, "Hello")
        waiting = asyncio.ensure_future(receipt.delivered())
        await scene.sleep(300)
        assert not waiting.done()
        scene.outages.come_back()
        assert (await waiting)["text"] == "Hello"


@in_virtual_time
async def test_what_is_spooled_cannot_be_cancelled_and_the_error_says_why(tmp_path: Path) -> None:
    async with playing(tmp_path, courier=False) as (kurir, scene):
        scene.outages.leave()
        receipt = await kurir.send_text(42, "Hello")
        with pytest.raises(StoreAway, match="is spooled"):
            await kurir.cancel(receipt.id)
        scene.outages.come_back()
        await until(lambda: not holds(kurir), scene.clock)
        await kurir.cancel(receipt.id)
        assert (await receipt.record()).state is State.CANCELLED


@in_virtual_time
async def test_a_spool_that_cannot_be_locked_is_told_of_and_forwards_when_it_can(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        lock = tmp_path / "spool.db.lock"
        scene.outages.leave()
        receipt = await kurir.send_text(42, "Hello")
        lock.unlink(missing_ok=True)
        lock.mkdir()  # as with rights that are wrong, or no room on the disk
        scene.outages.come_back()
        await until(lambda: any("spool.db.lock" in event.error for event in scene.heard(StoreTrouble)), scene.clock)
        await scene.sleep(60)
        assert scene.heard(Crashed) == []
        lock.rmdir()
        await receipt.delivered(timeout=30)


@in_virtual_time
async def test_any_error_of_the_store_spools_but_a_newer_schema_does_not(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave(SchemaMismatch("schema 99", "Upgrade Kurir."))
        with pytest.raises(SchemaMismatch):
            await kurir.send_text(42, "Hello")
        assert not holds(kurir)
        scene.outages.leave(StoreError("out of memory (53200)", "Run `kurir doctor`."))
        receipt = await kurir.send_text(42, "Hello")
        assert receipt.spooled
        scene.outages.come_back()
        await receipt.delivered(timeout=30)


@in_virtual_time
async def test_while_the_folder_of_files_is_gone_messages_with_files_wait(tmp_path: Path) -> None:
    files = tmp_path / "files"
    async with playing(tmp_path, files=files) as (kurir, scene):
        scene.outages.leave()
        receipt = await kurir.send_photo(42, b"%a photo")
        files.rename(tmp_path / "elsewhere")
        files.write_text("no folder")
        scene.outages.come_back()
        await scene.sleep(60)
        assert scene.heard(Unforwardable) == []
        assert holds(kurir)
        files.unlink()
        (tmp_path / "elsewhere").rename(files)
        await receipt.delivered(timeout=30)


@in_virtual_time
async def test_where_the_spool_is_full_a_slow_store_is_waited_for_and_its_answer_counts(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    full = Journal(tmp_path / "spool.db", inline=True, limit=1000)
    async with scene.stage.kurir(scene.store, courier=False, journal=full) as kurir:

        async def slowly(verb: str) -> None:
            if verb == "submit":
                await scene.sleep(9.0)

        scene.outages.before = slowly
        receipt = await kurir.send_text(42, "Hello")
        assert not receipt.spooled
        scene.outages.leave()
        with pytest.raises(StoreFull):
            await kurir.send_text(42, "Hello")
        assert [record.id for record in (await MemoryStore.find(_memory(scene), Query())).items] == [receipt.id]
    scene.stage.world.close()


@in_virtual_time
async def test_where_the_spool_is_full_and_the_store_does_not_answer_at_all_the_error_tells_of_the_doubt(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    full = Journal(tmp_path / "spool.db", inline=True, limit=1000)
    async with scene.stage.kurir(scene.store, courier=False, journal=full) as kurir:

        async def hardly(verb: str) -> None:
            if verb == "submit":
                await scene.sleep(60.0)

        scene.outages.before = hardly
        with pytest.raises(StoreAway, match="in doubt") as doubt:
            await kurir.send_text(42, "Hello")
        assert "idempotency key" in doubt.value.remedy
        await scene.sleep(60)
    scene.stage.world.close()


def _memory(scene: Scene) -> MemoryStore:
    assert isinstance(scene.outages.inner, MemoryStore)
    return scene.outages.inner


@in_virtual_time
async def test_the_end_of_spooling_counts_no_earlier_outage_that_another_process_ended(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    away, there = with_outages(scene.outages.inner)
    async with scene.kurir(away, courier=False) as cut_off:
        there.leave()
        await cut_off.send_text(42, "first")
        await scene.sleep(5)
        async with scene.kurir(courier=False):
            await until(lambda: not holds(cut_off), scene.clock)
        await scene.sleep(3600)
        await cut_off.send_text(42, "second")
        await scene.sleep(5)
        there.come_back()
        await until(lambda: not holds(cut_off), scene.clock)
        await until(lambda: len(scene.heard(SpoolingEnded)) == 2, scene.clock)
        assert scene.heard(SpoolingEnded)[-1].seconds < 60
    scene.stage.world.close()


@in_virtual_time
async def test_another_process_on_the_same_spool_keeps_the_order_and_forwards(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    away, there = with_outages(scene.outages.inner)
    async with scene.kurir() as sender:
        there.leave()
        async with scene.kurir(away, courier=False) as cut_off:
            first = await cut_off.send_text(42, "first")
            assert first.spooled
            second = await sender.send_text(42, "second")
            assert second.spooled  # its store is there, but what was accepted before goes first
            await second.delivered(timeout=30)
            assert (await sender.get(first.id)).state is State.DELIVERED
            assert not holds(cut_off)
        assert scene.stage.texts(42) == ["first", "second"]
    scene.stage.world.close()


@in_virtual_time
async def test_a_process_that_lives_but_shortly_forwards_what_waits_when_it_ends(tmp_path: Path) -> None:
    scene = Scene(tmp_path, a_store("sqlite", tmp_path))
    scene.outages.leave()
    async with scene.kurir(courier=False) as kurir:
        receipt = await kurir.send_text(42, "Hello")
        assert receipt.spooled
    scene.outages.come_back()
    async with scene.kurir(courier=False) as kurir:
        later = await kurir.send_text(42, "Behind it")
        assert later.spooled
    async with scene.stage.kurir(scene.store, courier=False) as kurir:
        assert [record.id for record in (await kurir.find(oldest_first=True)).items] == [receipt.id, later.id]
    scene.stage.world.close()


# ---------------------------------------------------------------- the beginning


@in_virtual_time
async def test_with_a_spool_kurir_starts_before_its_store(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.outages.leave()
    async with scene.kurir() as kurir:
        receipt = await kurir.send_text(42, "Hello")
        assert receipt.spooled
        for asked in (kurir.stats(), kurir.find(chat=42), kurir.retry("nobody"), kurir.suppress(BOT, "42", "blocked")):
            with pytest.raises(StoreAway, match=r"connection refused by db:5432\. Start the server"):
                await asked
        await scene.sleep(60)
        scene.outages.come_back()
        await receipt.delivered(timeout=30)
    scene.stage.world.close()


@in_virtual_time
async def test_without_a_spool_a_start_before_the_store_is_refused_unless_it_is_patient(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.outages.leave()
    kurir = scene.stage.kurir(scene.store)
    with pytest.raises(StoreAway, match="Start the server"):
        await kurir.start()
    await kurir.close()

    kurir = scene.stage.kurir(scene.store)
    await kurir.start(patient=True)
    with pytest.raises(StoreAway):
        await kurir.send_text(42, "Hello")
    scene.outages.come_back()
    await scene.sleep(5)
    await (await kurir.send_text(42, "Hello")).delivered(timeout=10)
    await kurir.close()
    scene.stage.world.close()


def test_the_blocking_face_spools_too(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    with BlockingKurir(url, TOKEN, settings=Settings(), spool=tmp_path / "spool.db") as kurir:
        receipt = kurir.send_text(42, "Hello")
        assert receipt.spooled
        assert receipt.record().reason.startswith("spooled: ")
