"""What the store refuses when the spool is forwarded: who is set aside, who waits, and that others go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kurir.core.errors import (
    InvalidMessage,
    KeyConflict,
    KeyHeld,
    KurirError,
    NotFound,
    StoreAway,
    StoreError,
    Undelivered,
)
from kurir.core.events import (
    Altered,
    Forwarded,
    StoreBack,
    StoreTrouble,
    Unforwardable,
)
from kurir.core.message import State

from .helpers import in_virtual_time, until
from .spooling import Scene, holds, playing

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
