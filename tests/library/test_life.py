"""Start, stop, and everything that ends too early (A5)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sqlite3
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from kurir import Kurir, Message, SchemaMismatch, Settings, State
from kurir.core.events import Event
from kurir.ports import Store
from kurir.simulator import Kind, Rule
from kurir.stores.memory import MemoryStore
from kurir.stores.sqlite import SqliteStore

from .helpers import BOT, TOKEN, in_virtual_time, playing, stage, until

HAND_OVER = {"courier": False, "settings": Settings()}


def kept(path: str = "kurir.db") -> list[str]:
    """The texts in the file, by plain SQL."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT json_extract(params, '$.text') FROM messages ORDER BY rowid")]


def run_program(program: str) -> None:
    """Run a program of our own to its end."""
    head = (
        "import asyncio, os, threading\n"
        "from kurir import Kurir, Message, Settings\n"
        f"def hand_over(): return Kurir('sqlite:///kurir.db', {TOKEN!r}, courier=False, settings=Settings())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", head + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


# ---------------------------------------------------------------- A5: accepted just before the end


def test_a_message_is_kept_when_the_process_exits_right_after_submit() -> None:
    run_program("""
        async def main():
            kurir = hand_over()
            await kurir.start()
            await kurir.send_text(5, "last words")
            os._exit(0)
        asyncio.run(main())
    """)
    assert kept() == ["last words"]


def test_a_message_is_kept_when_the_process_ends_without_close() -> None:
    run_program("""
        async def main():
            kurir = hand_over()
            await kurir.start()
            await kurir.send_text(5, "last words")
        asyncio.run(main())
    """)
    assert kept() == ["last words"]


def test_a_submit_that_was_begun_survives_the_end_of_asyncio_run() -> None:
    run_program("""
        async def main():
            kurir = hand_over()
            await kurir.start()
            task = asyncio.create_task(kurir.send_text(5, "last words"))
            await asyncio.sleep(0)
        asyncio.run(main())
    """)
    assert kept() == ["last words"]


def test_a_submit_that_was_begun_survives_the_end_of_its_loop() -> None:
    run_program("""
        loop = asyncio.new_event_loop()
        kurir = hand_over()
        loop.run_until_complete(kurir.start())
        async def begin():
            task = asyncio.create_task(kurir.send_text(5, "last words"))
            await asyncio.sleep(0)
            task.cancel()
        loop.run_until_complete(begin())
        loop.close()
    """)
    assert kept() == ["last words"]


def test_a_submit_that_is_cancelled_while_it_waits_is_carried_out() -> None:
    run_program("""
        async def main():
            async with hand_over() as kurir:
                tasks = [asyncio.create_task(kurir.send_text(5, f"m{n}")) for n in range(20)]
                await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
        asyncio.run(main())
    """)
    assert kept() == [f"m{n}" for n in range(20)]


def test_close_waits_for_what_was_handed_over() -> None:
    run_program("""
        async def main():
            kurir = hand_over()
            await kurir.start()
            tasks = [asyncio.create_task(kurir.send_text(5, f"m{n}")) for n in range(200)]
            await asyncio.sleep(0)
            await kurir.close()
            await asyncio.gather(*tasks)
        asyncio.run(main())
    """)
    assert len(kept()) == 200


async def test_a_handler_may_end_before_telegram_answered() -> None:
    """The web request that caused it returns at once; the message arrives all the same."""
    s = stage(latency=0.3)
    async with s.kurir("sqlite:///kurir.db"):  # type: ignore[arg-type]
        async with s.kurir("sqlite:///kurir.db", courier=False) as web:  # type: ignore[arg-type]
            receipt = await web.send_text(5, "x")
        assert s.texts(5) == []
        await until(lambda: s.texts(5) == ["x"], s.clock)
        assert receipt.id
    s.world.close()


def test_a_forked_child_is_told_not_to_use_its_parents_kurir() -> None:
    run_program("""
        async def main():
            from kurir import StoreAway
            async with hand_over() as kurir:
                await kurir.send_text(5, "parent")
                pid = os.fork()
                if pid == 0:
                    try:
                        await kurir.send_text(5, "child")
                    except StoreAway:
                        os._exit(0)
                    except BaseException:
                        os._exit(1)
                    os._exit(2)
                assert os.waitpid(pid, 0)[1] == 0
        asyncio.run(main())
    """)


def test_a_thread_that_outlives_the_main_one_may_still_look() -> None:
    run_program("""
        def work():
            async def main():
                async with hand_over() as kurir:
                    while threading.main_thread().is_alive():
                        await asyncio.sleep(0.01)
                    receipt = await kurir.send_text(5, "x")
                    await kurir.get(receipt.id)
            asyncio.run(main())
        began = threading.Thread(target=work)
        began.start()
    """)


# ---------------------------------------------------------------- a clean stop


@in_virtual_time
async def test_close_lets_what_is_in_flight_finish(store: Store) -> None:
    async with playing(store, latency=3) as (kurir, s):
        receipt = await kurir.send_text(5, "x")
        await s.sleep(1)
        before = s.clock.now()
        await kurir.close()
        assert s.clock.now() - before < 8
        await kurir.store.open()
        assert (await receipt.record()).state is State.DELIVERED


@in_virtual_time
async def test_close_hands_back_what_has_not_left(store: Store) -> None:
    async with playing(store, pace="on", latency=0.5) as (kurir, s):
        receipts = await kurir.submit([Message("sendMessage", {"chat_id": 5, "text": f"m{n}"}) for n in range(30)])
        await s.sleep(1)
        await kurir.close()
        await kurir.store.open()
        states = [(await r.record()).state for r in receipts]
        assert set(states) == {State.DELIVERED, State.WAITING}
        assert states.count(State.DELIVERED) == len(s.texts(5))
        async with s.kurir(store) as again:
            await asyncio.gather(*[again.end(r.id, 100) for r in receipts])
        assert s.texts(5) == [f"m{n}" for n in range(30)]


@in_virtual_time
async def test_close_ends_in_time_when_telegram_does_not_answer(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(Rule(Kind.HANG))
        receipt = await kurir.send_text(5, "x")
        await s.sleep(1)
        before = s.clock.now()
        await kurir.close(2)
        assert 2 <= s.clock.now() - before < 4
        await kurir.store.open()
        record = await kurir.get(receipt.id)
        assert record.state is State.WAITING
        assert [(a.outcome, a.error) for a in record.attempts] == [
            ("unknown", "connection reset: stopped while sending")
        ]
        assert record.tries == 0


@in_virtual_time
async def test_close_frees_the_bot_for_the_next_at_once(store: Store) -> None:
    async with playing(store) as (kurir, s):
        await (await kurir.send_text(5, "a")).delivered(10)
        await kurir.close()
        async with s.kurir(store) as again:
            before = s.clock.now()
            await (await again.send_text(5, "b")).delivered(10)
            assert s.clock.now() - before < 0.5


@in_virtual_time
async def test_close_twice_is_no_error(store: Store) -> None:
    async with playing(store) as (kurir, _):
        await kurir.close()
        await kurir.close()


async def test_close_without_start_is_no_error() -> None:
    await Kurir("sqlite:///kurir.db", TOKEN, courier=False, settings=Settings()).close()


async def test_nothing_is_left_running_after_close(recwarn: pytest.WarningsRecorder) -> None:
    before = {t for t in asyncio.all_tasks() if not t.done()}
    async with playing(SqliteStore("kurir.db")) as (kurir, _):
        await (await kurir.send_text(5, "x")).delivered(10)
    await asyncio.sleep(0)
    assert {t for t in asyncio.all_tasks() if not t.done()} == before
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        gc.collect()


async def test_after_close_the_folder_holds_the_database_alone() -> None:
    async with playing(SqliteStore("kurir.db")) as (kurir, _):
        await (await kurir.send_text(5, "x")).delivered(10)
    assert os.listdir() == ["kurir.db"]


async def test_an_error_inside_the_block_passes_through() -> None:
    async def fail() -> None:
        async with playing(SqliteStore("kurir.db")) as (kurir, _):
            await kurir.send_text(5, "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


# ---------------------------------------------------------------- several Kurirs


@in_virtual_time
async def test_without_a_courier_nothing_is_sent(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        await kurir.send_text(5, "x")
        await s.sleep(100)
        assert s.wire.calls == []


@in_virtual_time
async def test_of_two_kurirs_one_sends(store: Store) -> None:
    async with playing(store, latency=0.1) as (one, s):
        two = s.kurir(store)
        await two.start()
        receipts = [await kurir.send_text(5, f"m{n}") for n in range(10) for kurir in (one, two)]
        await asyncio.gather(*(r.delivered(60) for r in receipts))
        assert s.texts(5) == [f"m{n}" for n in range(10) for _ in range(2)]
        assert (await one.stats()).bots[0].fenced == 0
        await two.close()
        await store.open()


async def test_two_kurirs_on_two_files_do_not_meet() -> None:
    s = stage()
    async with s.kurir(SqliteStore("a.db")) as a, s.kurir(SqliteStore("b.db")) as b:
        one, two = await a.send_text(5, "a", idempotency_key="k"), await b.send_text(6, "b", idempotency_key="k")
        await asyncio.gather(one.delivered(10), two.delivered(10))
        assert len((await a.find()).items) == len((await b.find()).items) == 1
    s.world.close()


async def test_a_second_kurir_takes_over_when_the_first_is_closed() -> None:
    s = stage()
    first, second = s.kurir(SqliteStore("kurir.db")), s.kurir(SqliteStore("kurir.db"))
    await first.start()
    await second.start()
    await (await first.send_text(5, "a")).delivered(10)
    await first.close()
    await (await second.send_text(5, "b")).delivered(10)
    await second.close()
    assert s.texts(5) == ["a", "b"]
    s.world.close()


@in_virtual_time
async def test_a_standby_takes_over_within_ten_seconds_of_a_silent_holder() -> None:
    store = MemoryStore()
    async with playing(store, courier=False) as (kurir, s):
        await store.lease("a holder that is gone", [BOT], s.clock.now() + 10, s.clock.now())
        async with s.kurir(store):
            await (await kurir.send_text(5, "x")).delivered(12)


# ---------------------------------------------------------------- listeners


@in_virtual_time
async def test_a_listener_that_raises_harms_nobody(store: Store) -> None:
    async with playing(store) as (kurir, s):

        def broken(event: Event) -> None:
            raise ValueError("mine")

        kurir.listen(broken)
        await (await kurir.send_text(5, "x")).delivered(10)
        assert s.texts(5) == ["x"]


@in_virtual_time
async def test_a_listener_hears_the_life_of_a_message(store: Store) -> None:
    async with playing(store) as (kurir, s):
        await (await kurir.send_text(5, "x")).delivered(10)
        told = [type(e).__name__ for e in s.heard]
        assert [name for name in told if name != "Leased"] == ["Submitted", "Attempted", "Settled"]


# ---------------------------------------------------------------- schemas


def test_a_newer_schema_is_refused_with_a_clear_word() -> None:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        db.execute("PRAGMA user_version = 9999")

    async def main() -> None:
        async with Kurir("sqlite:///kurir.db", TOKEN, **HAND_OVER):  # type: ignore[arg-type]
            pass

    with pytest.raises(SchemaMismatch, match=r"schema 9999.*Upgrade Kurir"):
        asyncio.run(main())


def test_an_older_schema_is_migrated() -> None:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        db.execute("PRAGMA user_version = 0")

    async def main() -> int:
        async with Kurir("sqlite:///kurir.db", TOKEN, **HAND_OVER) as kurir:  # type: ignore[arg-type]
            await kurir.send_text(5, "x")
            return int((await kurir.stats()).store["schema"])

    assert asyncio.run(main()) >= 1
    assert kept() == ["x"]


def test_many_processes_may_open_a_new_file_at_once() -> None:
    program = (
        "import asyncio\nfrom kurir import Kurir, Settings\n"
        "async def main():\n"
        f"    async with Kurir('sqlite:///kurir.db', {TOKEN!r}, courier=False, settings=Settings()) as kurir:\n"
        "        for n in range(20): await kurir.send_text(5, 'x')\n"
        "asyncio.run(main())"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate(timeout=30)[1] for process in processes]
    assert errors == [b""] * 3
    assert len(kept()) == 60


def test_what_is_no_database_is_refused_with_a_clear_word() -> None:
    Path("kurir.db").write_text("this is a letter, not a database. " * 100)

    async def main() -> None:
        await Kurir("sqlite:///kurir.db", TOKEN, **HAND_OVER).start()  # type: ignore[arg-type]

    with pytest.raises(Exception, match="not a database") as caught:
        asyncio.run(main())
    assert type(caught.value).__name__ in ("StoreAway", "StoreError")


def test_a_folder_that_cannot_be_made_is_refused_with_the_remedy() -> None:
    Path("file").write_text("")

    async def main() -> None:
        await Kurir("sqlite:///file/kurir.db", TOKEN, **HAND_OVER).start()  # type: ignore[arg-type]

    with pytest.raises(Exception, match="KURIR_STORE") as caught:
        asyncio.run(main())
    assert type(caught.value).__name__ == "StoreAway"
