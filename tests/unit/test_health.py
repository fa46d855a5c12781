"""`/health/live` and `/health/ready`: ok, degraded and dead are told apart, each with what to do."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.outages import Outages, with_outages
from tests.serving import serving

from kurir import Kurir, Message, Settings
from kurir.core.errors import StoreAway, StoreFull
from kurir.core.events import Crashed, StoreBack, StoreTrouble, Unleased
from kurir.ports import Clock, Lease, SystemClock
from kurir.services import health as services
from kurir.services.health import FRESH, LATELY, LINGER, PATIENCE, HealthWatch
from kurir.settings import make_bot
from kurir.simulator.harness import Telegram
from kurir.stores.breaker import Breaker
from kurir.stores.memory import MemoryStore
from kurir.stores.sqlite import SqliteStore
from kurir.web.health import measured, routes

PATIENTLY = 10.0  # seconds


@dataclass
class Answer:
    code: int
    status: str
    checks: dict[str, dict[str, Any]]


@dataclass
class Doors:
    url: str
    session: aiohttp.ClientSession
    kurir: Kurir

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.session.get(f"{self.url}{path}") as answer:
            return answer.status, await answer.json()

    async def ready(self) -> Answer:
        code, body = await self.get("/health/ready")
        return Answer(code, body["status"], {check["name"]: check for check in body["checks"]})

    async def becomes(self, status: str) -> Answer:
        end = time.monotonic() + PATIENTLY
        while (answer := await self.ready()).status != status:
            assert time.monotonic() < end, answer
            await asyncio.sleep(0.05)
        return answer


@asynccontextmanager
async def doors(store: Any, telegram: Telegram, **options: Any) -> AsyncIterator[Doors]:
    """A started Kurir behind its health routes."""
    kurir = Kurir(store, telegram.token, settings=Settings(), telegram_url=telegram.url, pace="off", **options)
    shown = routes(kurir, measured(kurir))
    async with kurir, serving(shown) as url, aiohttp.ClientSession() as session:
        yield Doors(url, session, kurir)


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is looked into, so that the tests need not wait."""
    monkeypatch.setattr(services, "FRESH", 0.02)


async def test_all_well_is_ok(telegram: Telegram) -> None:
    async with doors("memory://", telegram) as d:
        answer = await d.becomes("ok")
        assert answer.code == 200
        assert list(answer.checks) == ["store", "courier default", "bot default"]
        assert all(check["ok"] and check["detail"] and "remedy" not in check for check in answer.checks.values())
        assert await d.get("/health/live") == (200, {"status": "ok"})


async def test_telegram_out_of_reach_is_degraded_until_it_is_back(telegram: Telegram) -> None:
    async with doors("memory://", telegram) as d:
        await d.becomes("ok")
        telegram.outage(60)
        await d.kurir.send_text(42, "Hello")
        answer = await d.becomes("degraded")
        assert answer.code == 200
        assert not answer.checks["bot default"]["ok"]
        assert "out of reach" in answer.checks["bot default"]["detail"]
        assert "kurir doctor" in answer.checks["bot default"]["remedy"]
        assert answer.checks["store"]["ok"]
        telegram.heal()
        await d.becomes("ok")


async def test_a_token_telegram_refuses_is_degraded(telegram: Telegram) -> None:
    async with doors("memory://", telegram) as d:
        await d.becomes("ok")
        telegram.fail("status_json", status=401, description="Unauthorized", times=1)
        await d.kurir.send_text(42, "Hello")
        answer = await d.becomes("degraded")
        assert "refused" in answer.checks["bot default"]["detail"]
        assert "@BotFather" in answer.checks["bot default"]["remedy"]


async def test_without_a_courier_it_is_degraded_until_a_worker_comes(telegram: Telegram, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/kurir.db"
    async with doors(store, telegram, courier=False) as d:
        await d.kurir.send_text(42, "Hello")
        answer = await d.ready()
        assert (answer.code, answer.status) == (200, "degraded")
        assert answer.checks["courier default"]["detail"] == "nobody sends for it (1 waiting)"
        assert "kurir worker" in answer.checks["courier default"]["remedy"]
        async with Kurir(store, telegram.token, settings=Settings(), telegram_url=telegram.url, pace="off"):
            answer = await d.becomes("ok")
            assert answer.checks["courier default"]["detail"] == "another process sends"
        await d.becomes("degraded")


async def test_a_standby_is_ok(telegram: Telegram, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/kurir.db"
    async with doors(store, telegram) as first:
        await first.becomes("ok")
        async with doors(store, telegram) as second:
            answer = await second.becomes("ok")
            assert answer.checks["courier default"]["detail"] == "another process sends"
            assert "bot default" not in answer.checks


async def test_a_locked_store_is_dead_and_the_answer_comes_all_the_same(telegram: Telegram, tmp_path: Path) -> None:
    async with doors(f"sqlite:///{tmp_path}/kurir.db", telegram) as d:
        await d.becomes("ok")
        other = sqlite3.connect(tmp_path / "kurir.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        answer = await d.becomes("dead")
        assert time.monotonic() - began < PATIENCE + 1
        assert answer.code == 503
        assert "did not answer within 2 s" in answer.checks["store"]["detail"]
        assert "kurir doctor" in answer.checks["store"]["remedy"]
        assert (await d.get("/health/live"))[0] == 200
        async with d.session.get(f"{d.url}/metrics") as scraped:
            assert "kurir_store_up 0.0" in await scraped.text()
        other.execute("ROLLBACK")
        other.close()
        await d.becomes("ok")


async def test_a_store_without_room_is_dead(telegram: Telegram, tmp_path: Path) -> None:
    async with doors(f"sqlite:///{tmp_path}/kurir.db", telegram) as d:
        await d.becomes("ok")
        telegram.fail("slow", seconds=0.3)
        await d.kurir.submit([Message("sendMessage", {"chat_id": n, "text": "x" * 500}) for n in range(1, 301)])
        limit_pages(d.kurir, 1)  # SQLite keeps the file as it is, and lets it grow no more
        answer = await d.becomes("dead")
        assert "no room left" in answer.checks["store"]["detail"]
        limit_pages(d.kurir, 1_000_000)
        await d.becomes("ok")


async def test_a_full_disk_is_dead_within_seconds_though_nobody_writes_and_until_there_is_room(
    telegram: Telegram, tmp_path: Path
) -> None:
    async with doors(f"sqlite:///{tmp_path}/kurir.db", telegram, courier=False) as d:
        await d.becomes("degraded")  # nobody sends
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        full = (tmp_path / "kurir.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, hard))  # (Python ignores SIGXFSZ)
        try:
            began = time.monotonic()
            answer = await d.becomes("dead")
            assert time.monotonic() - began < 3.0
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert answer.code == 503
        assert "no room left" in answer.checks["store"]["detail"]
        await d.becomes("degraded")


async def test_a_store_that_takes_nothing_is_dead_though_it_can_be_read(telegram: Telegram) -> None:
    class Full(MemoryStore):
        full = False

        async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
            if self.full:
                raise StoreFull("no room left", "Free disk space.")
            return await super().lease(holder, bots, until, now)

    store = Full()
    async with doors(store, telegram, courier=False) as d:
        await d.becomes("degraded")
        store.full = True
        assert (await d.becomes("dead")).checks["store"]["detail"].startswith("no room left")
        store.full = False
        await d.becomes("degraded")


def limit_pages(kurir: Kurir, pages: int) -> None:
    assert isinstance(kurir.store, SqliteStore)
    kurir.store._writes().db.execute(f"PRAGMA max_page_count = {pages}")


# ---------------------------------------------------------------- the watch by itself


class Slow(MemoryStore):
    """A store that answers when it is let, and counts the questions."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.free = asyncio.Event()
        self.free.set()

    async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        self.asked += 1
        await self.free.wait()
        return await super().lease(holder, bots, until, now)


BOT = make_bot("shop", "123456:AAsecret-token-of-the-shop")


def watch(store: MemoryStore, clock: Clock = SystemClock()) -> HealthWatch:  # noqa: B008 - it keeps nothing
    return HealthWatch(store, clock, {BOT.id: BOT.name}, dict)


async def test_however_many_ask_the_store_is_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FRESH", FRESH)
    store = Slow()
    await store.open()
    one = watch(store)
    answers = await asyncio.gather(*(one.check() for _ in range(100)))
    for _ in range(100):
        answers.append(await one.check())
    assert store.asked == 1
    assert {id(answer) for answer in answers} == {id(answers[0])}


async def test_a_store_that_hangs_is_asked_once_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "PATIENCE", 0.05)
    store = Slow()
    await store.open()
    store.free.clear()
    one = watch(store)
    for _ in range(3):
        assert (await one.check()).status == "dead"
        await asyncio.sleep(0.03)
    assert store.asked == 1
    store.free.set()
    await asyncio.sleep(0.03)
    assert (await one.check()).status == "degraded"  # nobody sends


async def test_one_who_asks_and_leaves_does_not_spoil_the_answer_of_the_others() -> None:
    store = Slow()
    await store.open()
    store.free.clear()
    one = watch(store)
    leaves, stays = asyncio.ensure_future(one.check()), asyncio.ensure_future(one.check())
    await asyncio.sleep(0.01)
    leaves.cancel()
    store.free.set()
    assert (await stays).status == "degraded"


async def test_a_store_in_trouble_is_dead_until_something_is_durable_again() -> None:
    store = Slow()
    await store.open()
    clock = _Clock()
    one = watch(store, clock)

    async def status() -> str:
        clock.at += 1
        return (await one.check()).status

    for over in ([StoreBack(3.0), StoreBack(3.0)], [Unleased(BOT.id, "anew")]):
        one.hear(StoreTrouble("settle", "no room"))
        one.hear(StoreTrouble("settle", "no room"))
        clock.at += 60
        assert await status() == "dead"
        for event in over:
            assert await status() == "dead"
            one.hear(event)
        assert await status() == "degraded"  # nobody sends


async def test_a_trouble_that_comes_and_goes_is_one() -> None:
    store = Slow()
    await store.open()
    clock = _Clock()
    one = watch(store, clock)
    for _ in range(3):
        one.hear(StoreTrouble("settle", "no room"))
        one.hear(StoreBack(0.1))
        clock.at += 2
        assert (await one.check()).status == "dead"
    clock.at += LINGER
    assert (await one.check()).status == "degraded"


async def test_a_loop_that_failed_lately_is_told_without_its_words() -> None:
    clock = _Clock()
    store = MemoryStore()
    await store.open()
    one = HealthWatch(store, clock, {}, dict)
    one.hear(Crashed("the delivery of m1", "KeyError: 'secret'"))
    assert (await one.check()).status == "ok"
    one.hear(Crashed("kurir-courier-7", "KeyError: 'secret'"))
    clock.at += 5
    health = await one.check()
    assert health.status == "degraded"
    assert health.checks[-1].name == "loop kurir-courier-7"
    assert health.checks[-1].detail == "it failed 5 s ago and was started anew"
    clock.at += LATELY
    assert (await one.check()).status == "ok"


class _Clock(SystemClock):
    at = 1_800_000_000.0

    def now(self) -> float:
        return self.at


# ---------------------------------------------------------------- a store that is away, with a spool and without


@dataclass
class Scene:
    doors: Doors
    outages: Outages


@asynccontextmanager
async def before_a_store(telegram: Telegram, folder: Path, **options: Any) -> AsyncIterator[Scene]:
    """It is away from the beginning."""
    store, outages = with_outages(SqliteStore(folder / "kurir.db"))
    outages.leave()
    kurir = Kurir(store, telegram.token, settings=Settings(), telegram_url=telegram.url, **options)
    shown = routes(kurir, measured(kurir))
    await kurir.start(patient=True)
    try:
        async with serving(shown) as url, aiohttp.ClientSession() as session:
            yield Scene(Doors(url, session, kurir), outages)
    finally:
        outages.come_back()
        await kurir.close()


async def test_before_its_store_is_there_it_is_dead_and_says_why(telegram: Telegram, tmp_path: Path) -> None:
    async with before_a_store(telegram, tmp_path) as scene:
        answer = await scene.doors.becomes("dead")
        assert answer.code == 503
        assert "connection refused by db:5432" in answer.checks["store"]["detail"]
        scene.outages.come_back()
        assert (await scene.doors.becomes("ok")).code == 200


async def test_with_a_spool_it_is_degraded_while_the_store_is_away(telegram: Telegram, tmp_path: Path) -> None:
    async with before_a_store(telegram, tmp_path, spool=tmp_path / "spool.db") as scene:
        answer = await scene.doors.becomes("degraded")
        assert answer.code == 200
        assert not answer.checks["store"]["ok"]
        assert answer.checks["spool"]["ok"]
        receipt = await scene.doors.kurir.send_text(42, "Hello")
        await asyncio.sleep(FRESH)
        spool = (await scene.doors.ready()).checks["spool"]
        assert spool["detail"].startswith("1 messages wait on this machine for the store")
        async with scene.doors.session.get(f"{scene.doors.url}/metrics") as scraped:
            told = await scraped.text()
        assert "kurir_store_up 0.0" in told
        assert "kurir_spool_messages 1.0" in told
        scene.outages.come_back()
        await receipt.delivered(timeout=PATIENTLY)
        assert (await scene.doors.becomes("ok")).checks["spool"]["detail"].startswith("empty")


async def test_with_a_spool_that_takes_nothing_it_is_dead(telegram: Telegram, tmp_path: Path) -> None:
    async with before_a_store(telegram, tmp_path, spool=tmp_path / "spool.db") as scene:
        assert scene.doors.kurir.spooling is not None
        scene.doors.kurir.spooling.journal.limit = 1
        answer = await scene.doors.becomes("dead")
        assert answer.code == 503
        assert "is full" in answer.checks["spool"]["detail"]


async def test_what_the_store_refuses_for_what_it_is_is_told(telegram: Telegram, tmp_path: Path) -> None:
    async with before_a_store(telegram, tmp_path, spool=tmp_path / "spool.db") as scene:
        await scene.doors.kurir.send_text(42, "Hello")
        assert scene.doors.kurir.spooling is not None
        journal = scene.doors.kurir.spooling.journal
        await journal.set_aside((await journal.head(1))[0].pos, "no such column")
        scene.outages.come_back()
        await scene.doors.becomes("degraded")
        answer = await scene.doors.becomes("degraded")
        assert "kurir spool" in answer.checks["spool"]["remedy"]


async def test_the_circuit_breaker_is_told_of(telegram: Telegram, tmp_path: Path) -> None:
    async with before_a_store(telegram, tmp_path) as scene:
        clock = [0.0]
        breaker = scene.outages.inner.breaker = Breaker("PostgreSQL", lambda: clock[0])  # type: ignore[attr-defined]
        for _ in range(3):
            with pytest.raises(StoreAway):
                async with breaker.passing():
                    raise StoreAway("refused", "Start it.")
        clock[0] = 7.0
        answer = await scene.doors.becomes("dead")
        assert answer.checks["store"]["detail"].endswith("(away for 7 s)")
        async with scene.doors.session.get(f"{scene.doors.url}/metrics") as scraped:
            assert "kurir_store_circuit_open 1.0" in await scraped.text()
