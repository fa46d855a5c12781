"""Nothing sent is forgotten: results that the store does not take before a process stops are settled by the next one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from kurir import Kurir
from kurir.core.errors import StoreError
from kurir.core.events import Crashed, Fenced, Settled
from kurir.core.message import Attempt, Claim, Draft, FileRef, OnUnknown, Options, Ordering, Priority, State
from kurir.ports import Settlement
from kurir.services.leftovers import PREFIX
from kurir.services.notation import read, written
from kurir.services.supervisor import LEASE_SECONDS
from kurir.simulator import Kind, Rule
from kurir.stores.journal import Journal
from kurir.stores.memory import MemoryStore
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
        assert m.heard(Crashed) == []
        assert m.heard(Fenced) == []
        assert all(len(m.stage.texts(chat)) == 2 for chat in CHATS)


@in_virtual_time
async def test_leftovers_of_another_store_change_nothing(tmp_path: Path) -> None:
    async with machine(tmp_path) as m:
        await m.stopped_before_it_could_tell()
        other, _ = with_outages(MemoryStore())
        async with m.kurir(other) as kurir:
            receipt = await kurir.send_text(42, "In another store")
            await receipt.delivered(timeout=10)
            assert (await kurir.stats()).bots[0].fenced == 0


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
        (told,) = m.heard(Crashed)
        assert "earlier process" in told.loop
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
        assert m.heard(Crashed)


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
