"""Nothing sent is forgotten: results that the store does not take before a process stops are settled by the next one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import pytest

from kurir import Kurir
from kurir.core.errors import StoreError
from kurir.core.events import Fenced, Settled, Unsettled
from kurir.core.message import Attempt, Claim, Draft, FileRef, OnUnknown, Options, Ordering, Priority, State
from kurir.ports import Settlement, SystemClock
from kurir.services.leftovers import PREFIX, Leftovers, folders_of
from kurir.services.notation import parsed, read, written
from kurir.services.supervisor import LEASE_SECONDS
from kurir.simulator import Kind, Rule
from kurir.stores.journal import Journal
from kurir.stores.memory import MemoryStore
from kurir.telegram.shared_spool import SharedSpool
from tests.outages import Outages, with_outages

from .helpers import BOT, Stage, a_store, in_virtual_time, stage, until

CHATS = range(42, 52)


class Machine:
    """A Telegram that takes half a second to answer, a store that can leave, and a folder."""

    def __init__(self, folder: Path, kind: str = "memory") -> None:
        self.folder = folder
        self.stage: Stage = stage(latency=0.5)
        self.clock = self.stage.clock
        self.store, self.outages = with_outages(a_store(kind, folder))

    def kurir(self, outages: Outages | None = None, *, spool: bool = True) -> Kurir:
        journal = Journal(self.folder / "spool.db", inline=True) if spool else None
        store: Any = outages or self.store
        return self.stage.kurir(store, journal=journal, files=None if spool else self.folder / "files")

    def files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*/{PREFIX}*"))

    def heard(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.stage.heard if isinstance(event, kind)]

    async def stopped_before_it_could_tell(self, *, spool: bool = True) -> list[str]:
        """Messages that were sent by a process whose store left before they were answered, and that then stopped."""
        kurir = self.kurir(spool=spool)
        await kurir.start()
        receipts = [await kurir.send_text(chat, "Hello") for chat in CHATS]
        await until(lambda: len(self.stage.wire.sends()) == len(CHATS), self.clock)
        self.outages.leave()
        await kurir.close()
        return [receipt.id for receipt in receipts]


@contextlib.asynccontextmanager
async def machine(folder: Path, kind: str = "memory") -> AsyncIterator[Machine]:
    there = Machine(folder, kind)
    try:
        yield there
    finally:
        there.stage.world.close()


@pytest.mark.parametrize(("kind", "spool"), [("memory", True), ("sqlite", True), ("sqlite", False)])
def test_what_was_sent_before_a_stop_during_an_outage_is_delivered_once_and_in_no_doubt(
    kind: str, spool: bool, tmp_path: Path
) -> None:
    _stopped_and_started(kind, spool, tmp_path)


@in_virtual_time
async def _stopped_and_started(kind: str, spool: bool, folder: Path) -> None:
    async with machine(folder, kind) as m:
        ids = await m.stopped_before_it_could_tell(spool=spool)
        assert len(m.files()) == 1
        await m.clock.sleep(60)
        m.outages.come_back()
        async with m.kurir(spool=spool) as kurir:
            for id in ids:
                await kurir.end(id, 30)
                record = await kurir.get(id)
                assert (record.state, record.doubts, record.crashes) == (State.DELIVERED, 0, 0)
                assert [attempt.outcome for attempt in record.attempts] == ["delivered"]
        assert all(m.stage.texts(chat) == ["Hello"] for chat in CHATS)
        assert len(m.heard(Settled)) == len(ids)
        assert m.files() == []


@in_virtual_time
async def test_a_process_that_starts_before_the_store_is_back_settles_them_when_it_is(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        ids = await m.stopped_before_it_could_tell()
        async with m.kurir() as kurir:
            await m.clock.sleep(60)
            m.outages.come_back()
            for id in ids:
                assert (await kurir.end(id, 30)).state is State.DELIVERED
        assert all(m.stage.texts(chat) == ["Hello"] for chat in CHATS)


@in_virtual_time
async def test_another_worker_of_the_machine_settles_them_before_it_takes_the_bot(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        standby = m.kurir()
        first = m.kurir()
        await first.start()
        await until(lambda: BOT in first.couriers, m.clock)
        await standby.start()
        receipts = [await first.send_text(chat, "Hello") for chat in CHATS]
        await until(lambda: len(m.stage.wire.sends()) == len(CHATS), m.clock)
        m.outages.leave()
        await first.close()
        await m.clock.sleep(2 * LEASE_SECONDS)
        m.outages.come_back()
        for receipt in receipts:
            assert (await standby.end(receipt.id, 30)).state is State.DELIVERED
        await standby.close()
        assert all(m.stage.texts(chat) == ["Hello"] for chat in CHATS)


@in_virtual_time
async def test_what_was_claimed_and_never_left_is_no_doubt_after_such_a_stop(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        m.stage.world.faults.add(Rule(Kind.REFUSED))
        kurir = m.kurir()
        await kurir.start()
        m.outages.before = leaves_after_claim(m.outages)
        receipt = await kurir.send_text(42, "Hello")
        await m.clock.sleep(1)
        await kurir.close()
        m.outages.before = None
        m.outages.come_back()
        m.stage.world.faults.clear()
        async with m.kurir() as again:
            await again.end(receipt.id, 120)
            record = await again.get(receipt.id)
        assert (record.state, record.doubts, record.crashes) == (State.DELIVERED, 0, 0)
        assert m.stage.texts(42) == ["Hello"]


def leaves_after_claim(outages: Outages) -> Any:
    async def before(verb: str) -> None:
        if verb == "settle":
            outages.leave()

    return before


@in_virtual_time
async def test_results_that_come_too_late_change_nothing(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        ids = await m.stopped_before_it_could_tell()
        elsewhere, _ = with_outages(m.outages.inner)
        async with m.stage.kurir(elsewhere) as other:  # on another machine: it cannot know
            for id in ids:
                await other.end(id, 60)
            m.outages.come_back()
            async with m.kurir():
                await until(lambda: not m.files(), m.clock)
        assert m.heard(Unsettled) == []
        assert m.heard(Fenced) == []
        assert all(len(m.stage.texts(chat)) == 2 for chat in CHATS)


@in_virtual_time
async def test_results_of_another_store_are_left_to_it(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        ids = await m.stopped_before_it_could_tell(spool=False)
        other, _ = with_outages(MemoryStore())
        async with m.kurir(other, spool=False) as kurir:
            await (await kurir.send_text(42, "In another store")).delivered(timeout=10)
            assert (await kurir.stats()).bots[0].fenced == 0
        assert len(m.files()) == 1
        m.outages.come_back()
        async with m.kurir(spool=False) as kurir:
            for id in ids:
                await kurir.end(id, 30)
        assert [m.stage.texts(chat).count("Hello") for chat in CHATS] == [1] * len(CHATS)
        assert m.files() == []


def test_results_are_found_again_when_the_store_has_another_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    old, new = (SharedSpool(tmp_path / name, MemoryStore(), SystemClock()) for name in ("old", "new"))
    assert folders_of(None, old) == folders_of(None, new)
    assert folders_of(tmp_path / "spool", old)[0] == tmp_path / "spool"


@in_virtual_time
async def test_a_bot_is_not_given_up_while_its_results_lie_in_a_file(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        first = m.kurir()
        other = m.stage.kurir(with_outages(m.outages.inner)[0])  # on another machine
        await first.start()
        await until(lambda: BOT in first.couriers, m.clock)
        await other.start()

        async def slow(verb: str) -> None:
            if verb == "settle":
                await m.clock.sleep(5)

        m.outages.before = slow
        receipts = [await first.send_text(chat, "Hello") for chat in CHATS]
        await until(lambda: len(m.stage.wire.sends()) == len(CHATS), m.clock)
        await first.close()
        m.outages.before = None
        assert len(m.files()) == 1
        await m.clock.sleep(1.5)
        async with m.kurir():  # the first machine is back
            for receipt in receipts:
                await other.end(receipt.id, 60)
        await other.close()
        assert [m.stage.texts(chat) for chat in CHATS] == [["Hello"]] * len(CHATS)


@in_virtual_time
async def test_another_worker_of_the_machine_for_which_the_store_was_never_away_settles_them_first(
    tmp_path: Path,
) -> None:
    async with machine(tmp_path) as m:
        first = m.kurir()
        standby = m.kurir(with_outages(m.outages.inner)[1])
        await first.start()
        await until(lambda: BOT in first.couriers, m.clock)
        await standby.start()
        receipts = [await first.send_text(chat, "Hello") for chat in CHATS]
        await until(lambda: len(m.stage.wire.sends()) == len(CHATS), m.clock)
        m.outages.leave()
        await first.close()
        assert len(m.files()) == 1
        for receipt in receipts:
            await standby.end(receipt.id, 60)
        await standby.close()
        assert [m.stage.texts(chat) for chat in CHATS] == [["Hello"]] * len(CHATS)
        assert m.files() == []


@in_virtual_time
async def test_one_result_that_the_store_refuses_costs_the_others_nothing(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        ids = await m.stopped_before_it_could_tell()
        m.outages.come_back()
        store: Any = m.outages.inner
        settle = store.settle

        async def picky(batch: Any, now: float) -> Any:
            if any(settlement.claim.id == ids[3] for settlement in batch):
                raise StoreError("value out of range (22003)", "Ask for help.")
            return await settle(batch, now)

        async def works_again(verb: str) -> None:
            if verb == "adopt":
                store.settle = settle

        store.settle, m.outages.before = picky, works_again
        async with m.kurir() as kurir:
            for id in ids:
                await kurir.end(id, 60)
        assert [len(m.stage.texts(chat)) for chat in CHATS] == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1]
        (told,) = m.heard(Unsettled)
        assert ids[3] in told.why


@in_virtual_time
async def test_a_file_that_cannot_be_read_just_now_is_not_given_up(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        ids = await m.stopped_before_it_could_tell()
        m.outages.come_back()
        read_bytes, busy = Path.read_bytes, [1, 2]

        def read_when_free(path: Path) -> bytes:
            if busy and PREFIX in path.name:
                busy.pop()
                raise OSError(errno.EMFILE, "Too many open files")
            return read_bytes(path)

        with mock.patch.object(Path, "read_bytes", read_when_free):
            async with m.kurir() as kurir:
                for id in ids:
                    await kurir.end(id, 60)
        assert busy == []
        assert [m.stage.texts(chat) for chat in CHATS] == [["Hello"]] * len(CHATS)


@in_virtual_time
async def test_a_file_of_another_user_stays_where_it_is_and_stops_nobody(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        theirs = m.folder / "spool.db.files" / f"{PREFIX}theirs"
        theirs.parent.mkdir()
        theirs.write_bytes(b"{}")
        with mock.patch.object(Path, "read_bytes", side_effect=PermissionError(errno.EACCES, "Permission denied")):
            async with m.kurir() as kurir:
                await (await kurir.send_text(42, "Hello")).delivered(timeout=5)
        assert m.files() == [theirs]
        assert len(m.heard(Unsettled)) == 1


@in_virtual_time
async def test_a_line_nobody_can_read_costs_the_other_results_nothing(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        ids = await m.stopped_before_it_could_tell()
        (path,) = m.files()
        path.write_bytes(path.read_bytes() + b"\nnot JSON")
        m.outages.come_back()
        async with m.kurir() as kurir:
            for id in ids:
                await kurir.end(id, 30)
        assert [m.stage.texts(chat) for chat in CHATS] == [["Hello"]] * len(CHATS)
        assert len(m.heard(Unsettled)) == 1
        assert m.files() == []


@pytest.mark.parametrize("strange", [{"result": b'{"x":"\xff"}'}, {"reason": "bad \ud83d"}])
async def test_texts_that_are_no_unicode_are_kept_as_they_are(strange: dict[str, Any], tmp_path: Path) -> None:
    told: list[Any] = []
    result = a_result("b", **strange)
    await Leftovers([tmp_path], MemoryStore(), SystemClock(), told.append).keep([a_result("a"), result])
    (path,) = tmp_path.glob(f"{PREFIX}*")
    assert [parsed(line) for line in path.read_bytes().splitlines()] == [a_result("a"), result]
    assert told == []


async def test_a_result_that_cannot_be_written_costs_the_others_nothing_and_is_told_of(tmp_path: Path) -> None:
    told: list[Any] = []
    leftovers = Leftovers([tmp_path], MemoryStore(), SystemClock(), told.append)
    await leftovers.keep([a_result("a"), a_result("b", reason=object()), a_result("c")])
    (path,) = tmp_path.glob(f"{PREFIX}*")
    assert [parsed(line).claim.id for line in path.read_bytes().splitlines()] == ["a", "c"]
    assert ["b is forgotten" in event.why for event in told] == [True]


async def test_what_is_kept_replaces_what_was_kept_before_and_goes_when_all_is_settled(tmp_path: Path) -> None:
    leftovers = Leftovers([tmp_path / "none" / "\0", tmp_path], MemoryStore(), SystemClock(), lambda event: None)
    for ids in (["a"], ["a", "b"], ["b"]):
        await leftovers.keep([a_result(id) for id in ids])
        (path,) = tmp_path.glob(f"{PREFIX}*")
        assert [parsed(line).claim.id for line in path.read_bytes().splitlines()] == ids
    await leftovers.keep([])
    assert list(tmp_path.iterdir()) == []


async def sent_when_the_store_leaves(m: Machine, kurir: Kurir) -> None:
    """All that was handed over is at Telegram, and no result can be stored any more."""
    for chat in CHATS:
        await kurir.send_text(chat, "Hello")
    await until(lambda: len(m.stage.wire.sends()) == len(CHATS), m.clock)
    m.outages.leave()


def a_result(id: str, **more: Any) -> Settlement:
    return Settlement(Claim(7, 2, 3, id, BOT, "42", "sendMessage", b"{}", Priority.NORMAL, 1.5), State.DEAD, **more)


@in_virtual_time
async def test_a_close_that_is_cancelled_forgets_nothing_and_closes_the_store(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        kurir = m.kurir()
        await kurir.start()
        await sent_when_the_store_leaves(m, kurir)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await kurir.close()
        assert len(m.files()) == 1
        assert kurir.couriers == {}
        assert "close" in m.outages.calls
        (path,) = m.files()
        outcomes = [parsed(line).attempt for line in path.read_bytes().splitlines()]
        assert [attempt.outcome for attempt in outcomes if attempt is not None] == ["unknown"] * len(CHATS)


@in_virtual_time
async def test_what_cannot_be_kept_keeps_nothing_from_being_closed(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        with mock.patch("kurir.services.leftovers._write_file", side_effect=ValueError("embedded null byte")):
            await m.stopped_before_it_could_tell()
        assert "close" in m.outages.calls
        (told,) = m.heard(Unsettled)
        assert "10 results are forgotten" in told.why


@in_virtual_time
async def test_two_processes_that_start_at_once_hold_nothing_for_too_late(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        ids = await m.stopped_before_it_could_tell()
        m.outages.come_back()

        async def slow(verb: str) -> None:
            if verb == "settle":
                await m.clock.sleep(0.1)

        m.outages.before = slow
        one, two = m.kurir(), m.kurir()
        await asyncio.gather(one.start(), two.start())
        for id in ids:
            await one.end(id, 60)
        await one.close()
        await two.close()
        assert m.heard(Fenced) == []
        assert len(m.heard(Settled)) == len(ids)
        assert [m.stage.texts(chat) for chat in CHATS] == [["Hello"]] * len(CHATS)


@in_virtual_time
async def test_a_stop_while_the_store_is_away_is_quick_and_writes_at_once(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        kurir = m.kurir()
        await kurir.start()
        await sent_when_the_store_leaves(m, kurir)
        await m.clock.sleep(3)
        began = m.clock.now()
        closing = asyncio.create_task(kurir.close())
        await m.clock.sleep(0.05)
        assert len(m.files()) == 1
        await closing
        assert m.clock.now() - began < 2


@in_virtual_time
async def test_a_stop_before_a_store_and_a_telegram_that_hang_has_written_all_within_nine_seconds(
    tmp_path: Path,
) -> None:
    async with machine(tmp_path) as m:
        kurir = m.kurir()
        await kurir.start()
        await until(lambda: BOT in kurir.couriers, m.clock)
        hung = asyncio.Event()

        async def hangs(verb: str) -> None:
            if verb != "close":
                await hung.wait()

        m.stage.world.faults.add(Rule(Kind.HANG, times=5))
        for chat in CHATS:
            await kurir.send_text(chat, "Hello")
        await until(lambda: len(m.stage.wire.sends()) == len(CHATS), m.clock)
        m.outages.before = hangs
        began = m.clock.now()
        closing = asyncio.create_task(kurir.close())
        await m.clock.sleep(1.5)
        (early,) = m.files()
        assert len(early.read_bytes().splitlines()) == 5
        await m.clock.sleep(7.5)
        assert len(early.read_bytes().splitlines()) == len(CHATS)
        await closing
        assert m.clock.now() - began < 10


@pytest.mark.parametrize("text", [b"not JSON", b'{"claim": 1}', b"\xff"])
def test_a_file_nobody_can_read_stands_in_nobodys_way_and_is_told_of(text: bytes, tmp_path: Path) -> None:
    _unreadable(text, tmp_path)


@in_virtual_time
async def _unreadable(text: bytes, folder: Path) -> None:
    async with machine(folder) as m:
        ids = await m.stopped_before_it_could_tell()
        (m.folder / "spool.db.files" / f"{PREFIX}broken").write_bytes(text)
        m.outages.come_back()
        async with m.kurir() as kurir:
            await (await kurir.send_text(42, "Later")).delivered(timeout=30)
            assert (await kurir.end(ids[0], 30)).state is State.DELIVERED
        (told,) = m.heard(Unsettled)
        assert "earlier process" in told.step
        assert [path.read_bytes() for path in m.folder.glob("*/unsettled-broken")] == [text]


@in_virtual_time
async def test_results_the_store_refuses_to_look_up_are_tried_again_and_couriers_start(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        await m.stopped_before_it_could_tell()
        m.outages.come_back()

        async def refuse(verb: str) -> None:
            if verb == "find":
                raise StoreError("permission denied (42501)", "Run `kurir doctor`.")

        m.outages.before = refuse
        async with m.kurir() as kurir:
            await until(lambda: BOT in kurir.couriers, m.clock)
        assert len(m.files()) == 1
        assert m.heard(Unsettled)


def test_everything_a_result_tells_can_be_written_and_read() -> None:
    photo = FileRef("photo", "ab" * 32, 12, "cat.jpg", "image/jpeg", "photo")
    options = Options(3, (1.0, 2.0), 5.0, 60.0, Ordering.STRICT, OnUnknown.HOLD)
    claim = Claim(
        *(
            7,
            2,
            3,
            "id",
            BOT,
            "42",
            "sendPhoto",
            b'{"chat_id":42}',
            Priority.LOW,
            1.5,
            (photo,),
            9.5,
            options,
            1,
            2,
            3,
            4,
        ),
        suppressed="blocked",
        file_ids={("ab" * 32, "photo"): "AgAC"},
        asked_at=2.5,
        requeued_at=3.5,
    )
    follow_up = Draft(
        *(
            "next",
            BOT,
            "42",
            "deleteMessage",
            b"{}",
            2.5,
            Priority.HIGH,
            (photo,),
            3.5,
            4.5,
            "key",
            b"\xff\x00",
            "7:edit",
        ),
        coalesce=True,
        metadata={"order": "1"},
        options=options,
        force=True,
    )
    attempt = Attempt(1, 2.5, 0.25, "delivered", 200, "words")
    settlement = Settlement(
        *(claim, State.WAITING, attempt, "why", b'{"message_id":7}', 8.5, True, 9.5, 1, 2, 3, "blocked", "-100"),
        file_ids=(("ab" * 32, "photo", "AgAC"),),
        follow_ups=(follow_up,),
        before=attempt,
    )
    for one in (
        settlement,
        Settlement(Claim(*(7, 2, 3, "id", BOT, "42", "sendDice", b"{}", Priority.LOW, 1.5)), State.DEAD),
    ):
        assert read(orjson.loads(orjson.dumps(written(one)))) == one
