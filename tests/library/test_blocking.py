"""The blocking face: threads, forks, and processes that just end (A5; Django, Flask, Celery)."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kurir import DeliveryTimeout, InvalidMessage, InvalidSetting, Message, NotFound, Settings, State
from kurir.blocking import BlockingKurir
from kurir.ports import SystemClock
from kurir.simulator import Limits, SimulatorServer, World

from .helpers import TOKEN


def kept() -> list[str]:
    with contextlib.closing(sqlite3.connect("kurir.db")) as db:
        return [row[0] for row in db.execute("SELECT json_extract(params, '$.text') FROM messages ORDER BY rowid")]


@pytest.fixture
def kurir() -> Iterator[BlockingKurir]:
    with BlockingKurir("sqlite:///kurir.db", TOKEN, settings=Settings()) as kurir:
        yield kurir


@pytest.fixture
def telegram() -> Iterator[str]:
    """A simulated Telegram on a port of its own, in a thread of its own; its URL."""
    loop = asyncio.new_event_loop()
    world = World(SystemClock(), limits=Limits.none(), open_doors=True)
    world.add_bot(TOKEN)
    server = SimulatorServer(world)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield server.url
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    world.close()


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program of our own to its end; it complains of nothing."""
    head = (
        "import os, sys, threading\n"
        "from kurir import Settings\n"
        "from kurir.blocking import BlockingKurir\n"
        f"kurir = BlockingKurir('sqlite:///kurir.db', {TOKEN!r}, settings=Settings())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", head + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done


# ---------------------------------------------------------------- every method


def test_it_hands_over(kurir: BlockingKurir) -> None:
    receipt = kurir.send_text(5, "x")
    assert receipt.state is State.WAITING
    assert not receipt.duplicate
    assert kurir.get(receipt.id).state is State.WAITING
    assert receipt.record().id == receipt.id
    assert kept() == ["x"]


def test_it_hands_over_many(kurir: BlockingKurir) -> None:
    receipts = kurir.submit([Message("sendMessage", {"chat_id": 5, "text": f"m{n}"}) for n in range(3)])
    assert [r.record().state for r in receipts] == [State.WAITING] * 3
    assert kurir.submit([]) == []


def test_it_looks_and_steers(kurir: BlockingKurir) -> None:
    receipt = kurir.send_text(5, "x", metadata={"order": 42})
    assert [r.id for r in kurir.find(metadata={"order": 42}).items] == [receipt.id]
    kurir.cancel(receipt.id)
    assert kurir.stats().bots[0].cancelled == 1
    kurir.retry(receipt.id)
    assert kurir.dead().items == ()


def test_errors_pass_through(kurir: BlockingKurir) -> None:
    with pytest.raises(InvalidMessage):
        kurir.send_text(5, "")
    with pytest.raises(NotFound):
        kurir.get("nobody")
    with pytest.raises(DeliveryTimeout):
        kurir.send_text(5, "x").delivered(0.05)


def test_what_is_wrong_with_the_arguments_shows_at_once() -> None:
    with pytest.raises(InvalidSetting):
        BlockingKurir("nosql://", TOKEN, settings=Settings())


def test_what_kurir_does_not_have_it_does_not_have(kurir: BlockingKurir) -> None:
    with pytest.raises(AttributeError):
        kurir.send_smell(5, "x")
    with pytest.raises(AttributeError):
        _ = kurir._hidden


def test_methods_keep_their_documentation(kurir: BlockingKurir) -> None:
    assert (kurir.send_text.__doc__ or "").startswith("sendMessage")
    assert kurir.send_text.__name__ == "send_text"


def test_listen_is_heard(kurir: BlockingKurir) -> None:
    heard: list[object] = []
    kurir.listen(heard.append)
    kurir.send_text(5, "x")
    assert [type(e).__name__ for e in heard] == ["Submitted"]


def test_a_listener_is_heard_after_it_was_closed_and_opened_again(kurir: BlockingKurir) -> None:
    heard: list[object] = []
    kurir.listen(heard.append)
    kurir.close()
    kurir.send_text(5, "x")
    assert [type(e).__name__ for e in heard] == ["Submitted"]


# ---------------------------------------------------------------- with a courier


def test_with_a_courier_it_sends_and_waits(telegram: str) -> None:
    with BlockingKurir(
        "sqlite:///kurir.db", TOKEN, courier=True, settings=Settings(), telegram_url=telegram, pace="off"
    ) as kurir:
        result = kurir.send_text(5, "x").delivered(10)
        assert result["text"] == "x"
        assert kurir.send_text(5, "y").ended(10).state is State.DELIVERED


def test_a_receipt_hears_of_the_end_that_another_brings_about(telegram: str) -> None:
    with (
        BlockingKurir("sqlite:///kurir.db", TOKEN, settings=Settings()) as web,
        BlockingKurir(
            "sqlite:///kurir.db", TOKEN, courier=True, settings=Settings(), telegram_url=telegram, pace="off"
        ),
    ):
        assert web.send_text(5, "x").delivered(10)["text"] == "x"


def test_a_wait_ends_when_it_is_closed_by_another_thread(kurir: BlockingKurir) -> None:
    receipt = kurir.send_text(5, "x")
    began = threading.Event()

    def wait() -> BaseException | None:
        began.set()
        try:
            receipt.delivered()
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        began.wait(5)
        kurir.get(receipt.id)
        kurir.close()
        assert "closed" in str(waiting.result(5))


# ---------------------------------------------------------------- threads


def test_many_threads_share_one(kurir: BlockingKurir) -> None:
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda n: kurir.send_text(5, f"m{n}"), range(200)))
    assert len({r.id for r in receipts}) == 200
    assert sorted(kept()) == sorted(f"m{n}" for n in range(200))


def test_the_first_calls_of_many_threads_open_it_once() -> None:
    kurir = BlockingKurir("sqlite:///kurir.db", TOKEN, settings=Settings())
    before = threading.active_count()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: kurir.send_text(5, f"m{n}"), range(8)))
    portals = [t for t in threading.enumerate() if t.name == "kurir-portal"]
    assert len(portals) == 1
    kurir.close()
    assert threading.active_count() <= before


def test_it_may_be_used_inside_a_running_loop() -> None:
    async def view() -> str:
        with BlockingKurir("sqlite:///kurir.db", TOKEN, settings=Settings()) as kurir:
            return str(kurir.send_text(5, "x").id)

    assert asyncio.run(view())
    assert kept() == ["x"]


# ---------------------------------------------------------------- life


def test_it_opens_at_the_first_call_and_again_after_close() -> None:
    kurir = BlockingKurir("sqlite:///kurir.db", TOKEN, settings=Settings())
    kurir.send_text(5, "a")
    kurir.close()
    kurir.send_text(5, "b")
    kurir.close()
    kurir.close()
    assert kept() == ["a", "b"]


def test_an_open_that_fails_leaves_no_thread_and_may_be_tried_again() -> None:
    with open("folder", "w"):
        pass
    kurir = BlockingKurir("sqlite:///folder/kurir.db", TOKEN, settings=Settings())
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(Exception, match="KURIR_STORE"):
            kurir.open()
    assert threading.active_count() == before


def test_a_process_that_just_ends_loses_nothing_and_complains_of_nothing() -> None:
    run_program("""
        for n in range(20):
            kurir.send_text(5, f"m{n}")
    """)
    assert kept() == [f"m{n}" for n in range(20)]


def test_a_process_that_ends_by_an_error_loses_nothing() -> None:
    run_program("""
        kurir.send_text(5, "x")
        sys.exit(0)
    """)
    assert kept() == ["x"]


def test_a_daemon_thread_cut_off_by_the_end_loses_nothing_it_was_told() -> None:
    done = run_program("""
        told = []
        def work():
            for n in range(100000):
                kurir.send_text(5, f"m{n}")
                told.append(n)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while len(told) < 20:
            pass
        print(len(told))
    """)
    assert len(kept()) >= int(done.stdout)


# ---------------------------------------------------------------- forks

FORK = """
    def child(work):
        pid = os.fork()
        if pid == 0:
            try:
                work()
                kurir.close()
                os._exit(0)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
        return pid
    def wait(*pids):
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
"""


def test_children_of_a_parent_that_never_used_it_hand_over() -> None:
    run_program(
        FORK
        + """
    wait(*[child(lambda n=n: kurir.send_text(5, f"child {n}")) for n in range(3)])
    """
    )
    assert sorted(kept()) == ["child 0", "child 1", "child 2"]


def test_children_and_a_parent_that_used_it_before_hand_over() -> None:
    run_program(
        FORK
        + """
    kurir.send_text(5, "before")
    wait(*[child(lambda n=n: kurir.send_text(5, f"child {n}")) for n in range(3)])
    kurir.send_text(5, "after")
    """
    )
    assert sorted(kept()) == ["after", "before", "child 0", "child 1", "child 2"]


def test_a_child_goes_on_when_its_parent_closes() -> None:
    """SQLite forbids to carry a connection over a fork: the child would believe to hold locks that it does not, the
    parent, closing as the last one, would delete the log that the child writes to."""
    run_program(
        FORK
        + """
    kurir.send_text(5, "before")
    ready, go = os.pipe(), os.pipe()
    def work():
        kurir.send_text(5, "child 1")
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        for n in range(2, 12):
            kurir.send_text(5, f"child {n}")
    pid = child(work)
    os.read(ready[0], 1)
    kurir.send_text(5, "parent")
    kurir.close()
    os.write(go[1], b"x")
    wait(pid)
    """
    )
    assert sorted(kept()) == sorted(["before", "parent", *(f"child {n}" for n in range(1, 12))])


def test_a_fork_while_threads_hand_over_hangs_nobody() -> None:
    run_program(
        FORK
        + """
    stop = []
    sent = []
    def work():
        while not stop:
            kurir.send_text(5, "parent")
            sent.append(1)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    pids = [child(lambda: kurir.send_text(5, "child")) for _ in range(5)]
    wait(*pids)
    stop.append(1)
    for thread in threads:
        thread.join()
    print(len(sent))
    """
    )
    assert kept().count("child") == 5


def test_a_wait_goes_on_after_a_fork() -> None:
    done = run_program(
        FORK
        + """
    from kurir import Undelivered
    receipt = kurir.send_text(5, "x")
    began = threading.Event()
    def work():
        began.set()
        try:
            receipt.delivered()
        except Undelivered as error:
            print(error.record.state)
    thread = threading.Thread(target=work)
    thread.start()
    began.wait()
    wait(child(lambda: kurir.send_text(5, "child")))
    kurir.cancel(receipt.id)
    thread.join()
    """
    )
    assert done.stdout == "cancelled\n"


def test_a_child_that_ends_leaves_the_parent_at_work() -> None:
    run_program(
        FORK
        + """
    kurir.send_text(5, "a")
    pid = os.fork()
    if pid == 0:
        sys.exit(0)      # with all its atexit callbacks
    wait(pid)
    kurir.send_text(5, "b")
    """
    )
    assert kept() == ["a", "b"]
