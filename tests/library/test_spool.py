"""The spool: while the store is away messages are accepted on this machine, and reach the store in order, each once."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from kurir import Kurir, Settings
from kurir.blocking import BlockingKurir
from kurir.core.errors import (
    InvalidMessage,
    KeyConflict,
    KeyHeld,
    KurirError,
    NotFound,
    SchemaMismatch,
    StoreAway,
    StoreError,
    StoreFull,
    Undelivered,
)
from kurir.core.events import (
    Altered,
    Crashed,
    Forwarded,
    SpoolingBegan,
    SpoolingEnded,
    StoreBack,
    StoreTrouble,
    Unforwardable,
)
from kurir.core.message import FileRef, State
from kurir.ports import Query, Store
from kurir.services.forwarding import Forwarding
from kurir.services.shelter import Shelter
from kurir.stores.journal import Journal
from kurir.stores.memory import MemoryStore
from kurir.telegram.spool import GRACE, Spool
from tests.outages import with_outages
from tests.serving import free_port

from .helpers import BOT, TOKEN, Stage, a_store, in_virtual_time, stage, until


class Scene:
    """A stage, a store that can leave, and a journal in `folder`."""

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        self.folder = folder
        self.stage: Stage = stage()
        self.clock = self.stage.clock
        self.store, self.outages = with_outages(store or MemoryStore())
        self.accept: Callable[[], None] = lambda: None  # what the store refused, from now on

    def kurir(self, store: Store | None = None, **options: Any) -> Kurir:
        return self.stage.kurir(store or self.store, journal=Journal(self.folder / "spool.db", inline=True), **options)

    def heard(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.stage.heard if isinstance(event, kind)]

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)


@asynccontextmanager
async def playing(folder: Path, **options: Any) -> AsyncIterator[tuple[Kurir, Scene]]:
    scene = Scene(folder)
    try:
        async with scene.kurir(**options) as kurir:
            yield kurir, scene
    finally:
        scene.stage.world.close()


def holds(kurir: Kurir) -> bool:
    assert kurir.spooling is not None
    return kurir.spooling.journal.holds()


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


# ---------------------------------------------------------------- keys


@in_virtual_time
async def test_keys_hold_inside_the_spool(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        first = await kurir.send_text(42, "Hello", idempotency_key="k")
        again = await kurir.send_text(42, "Hello", idempotency_key="k")
        assert (again.id, again.duplicate, again.spooled) == (first.id, True, True)
        with pytest.raises(KeyConflict):
            await kurir.send_text(42, "Something else", idempotency_key="k")
        scene.outages.come_back()
        await again.delivered(timeout=30)
        after = await kurir.send_text(42, "Hello", idempotency_key="k")
        assert (after.id, after.duplicate, after.spooled) == (first.id, True, False)
        assert scene.stage.texts(42) == ["Hello"]


@in_virtual_time
async def test_a_conflict_that_shows_when_forwarding_is_seen_and_others_go_on(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        first = await kurir.send_text(42, "Hello", idempotency_key="k")
        await first.delivered(timeout=10)
        scene.outages.leave()
        before = await kurir.send_text(42, "Before")
        other = await kurir.send_text(42, "Other words", idempotency_key="k")
        after = await kurir.send_text(42, "After")
        scene.outages.come_back()
        await after.delivered(timeout=30)
        await before.delivered(timeout=30)
        with pytest.raises(Undelivered) as undelivered:
            await other.delivered(timeout=30)
        record = undelivered.value.record
        assert (record.id, record.state) == (other.id, State.CANCELLED)
        assert record.reason == f"idempotency_key 'k' already belongs to message {first.id} with another body"
        assert scene.stage.texts(42) == ["Hello", "Before", "After"]
        (told,) = [event for event in scene.heard(Altered) if event.ids == (other.id,)]
        assert told.state is State.CANCELLED


@in_virtual_time
async def test_the_same_message_known_to_the_store_by_its_key_is_sent_once_and_both_ids_answer(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        first = await kurir.send_text(42, "Hello", idempotency_key="k")
        await first.delivered(timeout=10)
        scene.outages.leave()
        again = await kurir.send_text(42, "Hello", idempotency_key="k")
        assert (again.id != first.id, again.duplicate) == (True, False)  # nobody could know
        scene.outages.come_back()
        assert (await again.delivered(timeout=30))["text"] == "Hello"
        record = await kurir.get(again.id)
        assert record.state is State.CANCELLED
        assert record.reason == f"the same as message {first.id}, which was accepted before under the same key"
        assert scene.stage.texts(42) == ["Hello"]


@in_virtual_time
async def test_what_the_store_refuses_for_what_it_is_stays_in_the_spool_and_others_go_on(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        poison = await kurir.send_text(42, "poison")
        fine = await kurir.send_text(42, "fine")
        submit = scene.outages.inner.submit

        async def picky(drafts: Any, now: float) -> Any:
            if any(draft.id == poison.id for draft in drafts):
                raise InvalidMessage("text", "invalid byte sequence", "Leave it out.")
            return await submit(drafts, now)

        scene.outages.inner.submit = picky  # type: ignore[method-assign]
        scene.outages.come_back()
        await fine.delivered(timeout=60)
        assert [event.draft.id for event in scene.heard(Unforwardable)] == [poison.id]
        record = await kurir.get(poison.id)
        assert record.state is State.WAITING
        assert "invalid byte sequence" in (record.reason or "")
        assert not (await kurir.send_text(42, "later")).spooled  # it stands in nobody's way
        with pytest.raises(StoreAway, match="invalid byte sequence") as refused:
            await kurir.cancel(poison.id)
        assert f"--drop {poison.id}" in refused.value.remedy
        scene.outages.inner.submit = submit  # type: ignore[method-assign]
        assert kurir.spooling is not None
        await kurir.spooling.forward()
        await poison.delivered(timeout=30)


@in_virtual_time
async def test_a_message_can_be_dropped_from_the_spool_and_others_go_on(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        assert kurir.spooling is not None
        scene.outages.leave()
        first = await kurir.send_text(42, "first")
        given_up = await kurir.send_text(42, "given up")
        last = await kurir.send_text(42, "last")
        with pytest.raises(NotFound, match="nobody"):
            await kurir.spooling.drop([first.id, "nobody"])
        await kurir.spooling.drop([given_up.id])
        scene.outages.come_back()
        await last.delivered(timeout=30)
        assert scene.stage.texts(42) == ["first", "last"]
        (told,) = scene.heard(Altered)
        assert (told.ids, told.state, told.reason) == ((given_up.id,), None, "dropped from the spool")


async def refuse_rights(_: str) -> None:
    raise StoreError("NOPERM this user has no permissions", "Check the user's rights.")


async def refuse_by_mistake(_: str) -> None:
    raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize("refuse", [refuse_rights, refuse_by_mistake])
def test_what_the_store_suffers_from_sets_no_message_aside(refuse: Any, tmp_path: Path) -> None:
    _refused_for_a_while(refuse, tmp_path)


@in_virtual_time
async def _refused_for_a_while(refuse: Any, folder: Path) -> None:
    async with playing(folder, courier=False) as (kurir, scene):
        scene.outages.leave()
        receipts = [await kurir.send_text(42, f"number {number}") for number in range(3)]
        scene.outages.before, scene.outages.away = refuse, None
        await scene.sleep(300)
        assert kurir.spooling is not None
        contents = await kurir.spooling.journal.contents()
        assert (contents.messages, contents.stuck) == (3, 0)
        receipts.append(await kurir.send_text(42, "number 3"))
        assert receipts[3].spooled  # it overtakes nobody
        assert scene.outages.calls.count("submit") < 2 * 300 / 1.4 + 20  # the pauses grow
        scene.outages.before = None
        await until(lambda: not holds(kurir), scene.clock)
        stored = (await kurir.find(oldest_first=True)).items
        assert [record.id for record in stored] == [receipt.id for receipt in receipts]
        troubles = [event for event in scene.heard(StoreTrouble) if event.step == "forward"]
        assert len(troubles) == 1
        assert [event.step for event in scene.heard(StoreBack) if event.step == "forward"] == ["forward"]
        assert scene.heard(Unforwardable) == []


OUT_OF_RANGE = StoreError("value out of range (22003)", "Run `kurir doctor`.")


def refusing(scene: Scene, words: str = "odd", error: KurirError = OUT_OF_RANGE) -> None:
    """The store refuses messages whose text has these words; it says nothing of why, unless `error` does."""
    submit = scene.outages.inner.submit

    async def picky(drafts: Any, now: float) -> Any:
        if any(words.encode() in draft.params for draft in drafts):
            raise error
        return await submit(drafts, now)

    scene.outages.inner.submit = picky  # type: ignore[method-assign]
    scene.accept = lambda: setattr(scene.outages.inner, "submit", submit)


@in_virtual_time
async def test_a_message_whose_key_an_open_transaction_has_holds_up_its_own_chat_alone(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        held = await kurir.send_text(42, "held", idempotency_key="k")
        behind = await kurir.send_text(42, "behind it")
        others = [await kurir.send_text(50 + n % 7, "another") for n in range(300)]
        refusing(scene, "held", KeyHeld("a transaction has it", "Try again."))
        scene.outages.come_back()
        for other in others:
            await other.delivered(timeout=60)
        await scene.sleep(300)
        assert ((await behind.record()).state, scene.heard(Unforwardable)) == (State.WAITING, [])
        scene.accept()
        await behind.delivered(timeout=30)
        told = [draft.id for event in scene.heard(Forwarded) for draft in event.drafts]
        assert len(told) == len(set(told)) == 302
        assert (await held.record()).seq < (await behind.record()).seq


@in_virtual_time
async def test_a_submit_whose_key_an_open_transaction_has_is_not_spooled(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        refusing(scene, "held", KeyHeld("a transaction has it", "Try again."))
        with pytest.raises(KeyHeld):
            await kurir.send_text(42, "held", idempotency_key="k")
        assert not (await kurir.send_text(43, "another")).spooled
        assert scene.heard(StoreTrouble) == []


@in_virtual_time
async def test_those_before_the_one_the_store_refuses_are_forwarded_and_it_is_named(tmp_path: Path) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        before = await kurir.send_text(42, "before")
        odd = await kurir.send_text(42, "odd")
        refusing(scene)
        scene.outages.come_back()
        await before.delivered(timeout=30)
        await until(lambda: any(odd.id in event.error for event in scene.heard(StoreTrouble)), scene.clock)
        await scene.sleep(300)
        assert scene.heard(Unforwardable) == []  # nobody knows yet whose trouble it is
        behind = await kurir.send_text(43, "behind it")
        assert behind.spooled
        await behind.delivered(timeout=30)
        assert [event.draft.id for event in scene.heard(Unforwardable)] == [odd.id]


@in_virtual_time
async def test_messages_the_store_refuses_alone_are_set_aside_others_pass_and_they_are_retried_on_demand(
    tmp_path: Path,
) -> None:
    async with playing(tmp_path) as (kurir, scene):
        scene.outages.leave()
        odd = [await kurir.send_text(42, f"odd {number}") for number in range(8)]
        fine = [await kurir.send_text(42 + number % 2, f"fine {number}") for number in range(20)]
        refusing(scene)
        scene.outages.come_back()
        for receipt in fine:
            await receipt.delivered(timeout=60)
        await until(lambda: not holds(kurir), scene.clock, 60)
        assert [event.draft.id for event in scene.heard(Unforwardable)] == [receipt.id for receipt in odd]
        assert scene.stage.texts(42) == [f"fine {number}" for number in range(0, 20, 2)]
        assert scene.stage.texts(43) == [f"fine {number}" for number in range(1, 20, 2)]
        assert "value out of range" in ((await kurir.get(odd[0].id)).reason or "")
        assert not (await kurir.send_text(42, "later")).spooled  # they stand in nobody's way
        assert kurir.spooling is not None
        assert (await kurir.spooling.journal.contents()).stuck == 8
        scene.accept()
        await kurir.spooling.forward()
        for receipt in odd:
            await receipt.delivered(timeout=30)


@in_virtual_time
async def test_what_waits_only_because_its_files_cannot_be_kept_is_not_set_aside(tmp_path: Path) -> None:
    files = tmp_path / "files"
    async with playing(tmp_path, files=files) as (kurir, scene):
        scene.outages.leave()
        photo = await kurir.send_photo(42, b"%a photo")
        texts = [await kurir.send_text(43 + number, "no file") for number in range(3)]
        files.rename(tmp_path / "elsewhere")
        files.write_text("no folder")
        scene.outages.come_back()
        await scene.sleep(60)
        assert scene.heard(Unforwardable) == []
        files.unlink()
        (tmp_path / "elsewhere").rename(files)
        for receipt in (photo, *texts):
            await receipt.delivered(timeout=30)


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


# ---------------------------------------------------------------- crashes and other processes


class Crash(BaseException):
    """The process dies here."""


class Steps:
    """Stands before the journal or the store; dies before or after the `fatal`-th step of both together."""

    def __init__(self, fatal: int, when: str) -> None:
        self.fatal = fatal
        self.when = when
        self.taken: list[str] = []

    def before(self, inner: Any) -> Any:
        return _Stepping(inner, self)


class _Stepping:
    def __init__(self, inner: Any, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        steps = self._steps
        if not asyncio.iscoroutinefunction(found):
            return found

        async def step(*args: Any, **more: Any) -> Any:
            steps.taken.append(name)
            fatal = len(steps.taken) == steps.fatal
            if fatal and steps.when == "before":
                raise Crash
            answer = await found(*args, **more)
            if fatal:
                raise Crash
            return answer

        return step


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_step_of_forwarding_loses_and_doubles_nothing(kind: str, when: str, tmp_path: Path) -> None:
    taken: set[str] = set()
    for fatal in range(1, 100):
        folder = tmp_path / str(fatal)
        folder.mkdir()
        steps = Steps(fatal, when)
        _crash_in(folder, kind, steps)
        taken |= set(steps.taken)
        if len(steps.taken) < fatal:
            break
    assert taken == {"head", "submit", "doom", "alter", "remove"}
    assert fatal > 10


@in_virtual_time
async def _crash_in(folder: Path, kind: str, steps: Steps) -> None:
    scene = Scene(folder, a_store(kind, folder))
    async with scene.kurir() as kurir:
        first = await kurir.send_text(42, "first", idempotency_key="k")
        twin = await kurir.send_text(42, "twin", idempotency_key="t")
        await twin.delivered(timeout=10)
        scene.outages.leave()
        receipts = [await kurir.send_text(42, f"number {number}") for number in range(5)]
        conflict = await kurir.send_text(42, "other", idempotency_key="k")
        same = await kurir.send_text(42, "twin", idempotency_key="t")
        end = await kurir.send_text(42, "the end")
    scene.outages.come_back()
    await _forward_and_die(scene, steps)
    async with scene.kurir() as kurir:
        for receipt in (*receipts, end):
            await kurir.end(receipt.id, 60)
        assert (await kurir.end(conflict.id, 60)).state is State.CANCELLED
        assert (await kurir.end(same.id, 60)).id == twin.id
        await until(lambda: not holds(kurir), scene.clock)
        stored = (await kurir.find(limit=1000)).items
        ids = [receipt.id for receipt in (first, twin, *receipts, conflict, same, end)]
        assert sorted(record.id for record in stored) == sorted(ids)
    assert scene.stage.texts(42) == ["first", "twin", *(f"number {number}" for number in range(5)), "the end"]
    scene.stage.world.close()


async def _forward_and_die(scene: Scene, steps: Steps) -> None:
    """A process that forwards without sending, and dies at its fatal step."""
    journal = Journal(scene.folder / "spool.db", inline=True)
    await journal.open()
    await scene.store.open()
    store, stepping = steps.before(scene.store), steps.before(journal)
    shelter = Shelter(Spool(scene.folder / "spool.db.files"), None)
    loop = Forwarding(stepping, store, scene.clock, random.Random(1), scene.stage.heard.append, shelter)
    with suppress(Crash):
        await loop.drain()
    await journal.close()
    await scene.store.close()


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
