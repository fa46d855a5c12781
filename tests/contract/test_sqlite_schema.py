"""What only the SQLite store has: migrations, views for people, the plans of its reads, figures of its commits."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kurir.core.errors import StoreError
from kurir.core.message import Priority, State
from kurir.ports import ApiKey, LaneQuery, Lease, Page, Query, Settlement
from kurir.stores.named import migrations
from kurir.stores.sqlite import SqliteStore, claims, reads
from kurir.stores.sqlite import store as store_module
from kurir.stores.sqlite.reader import is_short
from kurir.stores.sqlite.submit import submit
from kurir.stores.sqlite.transaction import Transaction
from kurir.stores.sqlite.writer import connect

from .steps import BOT, FOREVER, T, call, draft

SCRIPTS = migrations("kurir.stores.sqlite.migrations")
VIEWS = ("messages", "attempts", "chats", "suppressions", "deliveries_by_day", "deliveries_by_month")


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "kurir.db")
    await store.open()
    yield store
    await store.close()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        yield db


def rows(path: Path, sql: str) -> list[Any]:
    with opened(path) as db:
        return db.execute(sql).fetchall()


def an_old_file(path: Path) -> None:
    """A file as the first schema had it: a message delivered, one waiting, one in flight, one suppressed."""
    with contextlib.closing(connect(path)) as db:
        db.executescript(SCRIPTS[0][1])
        db.execute("PRAGMA user_version = 1")
        today = path.with_name("today.db")
        some_messages(today)
        db.execute("ATTACH ? AS today", (str(today),))
        for (table,) in db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall():
            columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
            db.execute(f"DELETE FROM main.{table}")
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM today.{table}")
        db.execute("DETACH today")


def some_messages(path: Path) -> None:
    store_module.migrate(path)
    with contextlib.closing(connect(path)) as db:
        tx = Transaction(db)
        [lease] = claims.lease(tx, "courier", [BOT], T + 60, T, lambda _: False)
        submit(tx, [draft("delivered"), draft("dead", "b"), draft("waiting", priority=Priority.LOW)], T)
        delivered, dead = claims.claim(tx, lease, T, 2, 0).claims
        done = Settlement(delivered, State.DELIVERED, call(0), result=b'{"message_id":7}')
        claims.settle(tx, [done, Settlement(dead, State.DEAD, call(0), suppress="blocked")], T + 1)
        submit(tx, [draft("in flight", "c", key="k", digest=b"1")], T + 1)
        claims.claim(tx, lease, T + 1, 100, 0)
        tx.finish()


# ---------------------------------------------------------------- migrations


async def test_a_file_of_the_first_schema_is_migrated_and_keeps_what_it_had(tmp_path: Path) -> None:
    an_old_file(tmp_path / "kurir.db")
    store = SqliteStore(tmp_path / "kurir.db")
    await store.open()
    assert (await store.stats()).store["schema"] == SCRIPTS[-1][0] >= 2
    records = (await store.find(Query(oldest_first=True, with_attempts=True))).items
    assert {record.id: record.state for record in records} == {
        "delivered": State.DELIVERED,
        "dead": State.DEAD,
        "waiting": State.SENDING,
        "in flight": State.SENDING,
    }
    assert (records[0].result, records[0].attempts) == (b'{"message_id":7}', (call(0),))
    [again] = await store.submit([draft("again", "c", key="k", digest=b"1")], T + 2)
    assert (again.id, again.seq, again.duplicate) == ("in flight", records[-1].seq, True)
    assert [lane.chat for lane in (await store.lanes(LaneQuery(suppressed=True))).items] == ["b"]
    await store.close()


async def test_a_migrated_file_sends_on(tmp_path: Path) -> None:
    an_old_file(tmp_path / "kurir.db")
    store = SqliteStore(tmp_path / "kurir.db", inline=True)
    await store.open()
    [lease] = await store.lease("courier", [BOT], T + 1000, T + 100)
    [left] = await store.lease("another", [BOT], T + 9000, T + 2000)
    assert isinstance(lease, Lease)
    orphans = await store.adopt(left, 10)
    assert sorted(claim.id for claim in orphans) == ["in flight", "waiting"]
    assert (
        await store.settle([Settlement(claim, State.DELIVERED, call(9)) for claim in orphans], T + 2001) == [True] * 2
    )
    await store.add_key(ApiKey("k_1", "new", "send", b"digest", T))
    assert len(await store.keys()) == 1
    await store.close()


async def test_a_migrated_file_has_the_tables_and_views_of_a_new_one(tmp_path: Path) -> None:
    an_old_file(tmp_path / "old.db")
    for name in ("old.db", "new.db"):
        store = SqliteStore(tmp_path / name)
        await store.open()
        await store.close()
    schema = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"
    assert rows(tmp_path / "old.db", schema) == rows(tmp_path / "new.db", schema)


# ---------------------------------------------------------------- views


async def test_the_view_of_chats_tells_what_holds_each(sqlite: SqliteStore) -> None:
    await sqlite.submit([draft("1"), draft("2", "paused"), draft("3", "later", due=60), draft("4", "cooling")], T)
    await sqlite.steer(BOT, chat="paused", until=FOREVER)
    await sqlite.steer(BOT, chat="cooling", until=T + 5)
    await sqlite.suppress(BOT, "blocked", "bot was blocked by the user", T)
    assert rows(sqlite.path, "SELECT chat, waiting, sending, next_message, next_at, quiet_until FROM chats") == [
        ("a", 1, 0, "1", "2023-11-14 22:13:20", None),
        ("paused", 1, 0, "2", None, "resumed"),
        ("later", 1, 0, None, "2023-11-14 22:14:20", None),
        ("cooling", 1, 0, "4", "2023-11-14 22:13:25", "2023-11-14 22:13:25"),
        ("blocked", 0, 0, None, None, None),
    ]
    [lease] = await sqlite.lease("courier", [BOT], T + 60, T)
    [claim] = (await sqlite.claim(lease, T, 10)).claims
    sending = "SELECT chat, next_message, next_at FROM chats WHERE sending"
    assert rows(sqlite.path, sending) == [("a", "1", None)]
    await sqlite.settle([Settlement(claim, State.DELIVERED, call(0), moved_to="b")], T)
    assert rows(sqlite.path, "SELECT count(*) FROM chats WHERE chat = 'a'") == [(0,)]


async def test_the_view_of_suppressions_tells_why_and_since_when(sqlite: SqliteStore) -> None:
    await sqlite.suppress(BOT, "a", "bot was blocked by the user", T)
    await sqlite.suppress(BOT, "b", "lifted again", T)
    await sqlite.suppress(BOT, "b", None, T)
    expected = [(BOT, "a", "bot was blocked by the user", "2023-11-14 22:13:20")]
    assert rows(sqlite.path, "SELECT bot, chat, why, since FROM suppressions") == expected


@pytest.mark.parametrize("view", VIEWS)
async def test_no_view_shows_an_api_key(sqlite: SqliteStore, view: str) -> None:
    await sqlite.add_key(ApiKey("k_1", "name of the key", "send", b"digest", T))
    assert rows(sqlite.path, f"SELECT * FROM {view}") == []


# ---------------------------------------------------------------- plans


def plan(path: Path, query: LaneQuery) -> str:
    """How SQLite goes about a page of lanes."""
    with contextlib.closing(connect(path, read_only=True)) as db:
        steps: list[str] = []
        db.set_trace_callback(steps.append)
        reads.lanes(db, query)
        db.set_trace_callback(None)
        return "\n".join(row[3] for sql in steps for row in db.execute(f"EXPLAIN QUERY PLAN {sql}"))


@pytest.mark.parametrize("bot", [None, BOT])
async def test_suppressed_lanes_are_found_by_their_index(sqlite: SqliteStore, bot: int | None) -> None:
    found = plan(sqlite.path, LaneQuery(bot=bot, suppressed=True))
    assert "l USING INDEX lane_suppressed_by_id" in found
    assert "TEMP B-TREE" not in found


@pytest.mark.parametrize("bot", [None, BOT])
async def test_waiting_lanes_are_found_through_what_waits(sqlite: SqliteStore, bot: int | None) -> None:
    found = plan(sqlite.path, LaneQuery(bot=bot, waiting=True))
    assert "COVERING INDEX lane_ready" in found
    assert "INDEX message_later" in found
    assert "SCAN l" not in found.splitlines()
    assert "ORDER BY" not in found


@pytest.mark.parametrize("bot", [None, BOT])
async def test_a_page_of_lanes_is_read_in_the_order_of_the_table(sqlite: SqliteStore, bot: int | None) -> None:
    found = plan(sqlite.path, LaneQuery(bot=bot))
    assert "SEARCH l USING INTEGER PRIMARY KEY (rowid>?)" in found
    assert "TEMP B-TREE" not in found


@pytest.mark.parametrize("bot", [None, BOT])
async def test_a_lane_is_found_by_its_name_without_a_look_at_others(sqlite: SqliteStore, bot: int | None) -> None:
    await sqlite.submit([draft("1"), draft("2", bot=2)], T)
    found = plan(sqlite.path, LaneQuery(bot=bot, chat="a"))
    assert "(bot=? AND chat=?)" in found
    assert not [step for step in found.splitlines() if step.startswith(("SCAN lane", "SCAN l "))]


async def test_with_a_large_backlog_the_lanes_with_something_waiting_are_the_same(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.submit([draft("1"), draft("2", "b", due=50), draft("3", "c")], T)
    await sqlite.suppress(BOT, "d", "blocked", T)
    few = await sqlite.lanes(LaneQuery(waiting=True))
    monkeypatch.setattr(reads, "FEW", 1)
    assert await sqlite.lanes(LaneQuery(waiting=True)) == few
    assert [lane.chat for lane in few.items] == ["a", "b", "c"]


# ---------------------------------------------------------------- readers


SLOW = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT max(i) FROM n"


def slowly(steps: int) -> Callable[[sqlite3.Connection, Query], Page]:
    """A `find` that takes its time."""
    find = reads.find

    def slow(db: sqlite3.Connection, query: Query) -> Page:
        if not is_short(query):
            db.execute(SLOW.format(steps)).fetchall()
        return find(db, query)

    return slow


async def test_what_is_short_does_not_wait_for_a_search(sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await sqlite.submit([draft("1", key="k", digest=b"1")], T)
    monkeypatch.setattr(reads, "find", slowly(2_000_000))
    search = asyncio.ensure_future(sqlite.find(Query(method="getMe")))
    await asyncio.sleep(0)
    for short in (Query(ids=("1",)), Query(seqs=(1,)), Query(bot=BOT, key="k")):
        assert [record.id for record in (await sqlite.find(short)).items] == ["1"]
    assert len((await sqlite.lanes(LaneQuery(chat="a"))).items) == 1
    await asyncio.gather(sqlite.stats(), sqlite.keys())
    assert not search.done()
    assert (await search).items == ()


async def test_a_search_that_takes_too_long_is_given_up_and_the_next_one_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LONGEST", 0.1)
    store = SqliteStore(tmp_path / "kurir.db")
    await store.open()
    await store.submit([draft("1")], T)
    with monkeypatch.context() as patched:
        patched.setattr(reads, "find", slowly(1_000_000_000))
        with pytest.raises(StoreError, match=r"given up after 0\.1 s.*Narrow it"):
            await store.find(Query(method="sendMessage"))
    assert [record.id for record in (await store.find(Query(method="sendMessage"))).items] == ["1"]
    await store.close()


async def test_what_has_expired_is_found_by_its_index(sqlite: SqliteStore) -> None:
    with contextlib.closing(connect(sqlite.path, read_only=True)) as db:
        steps: list[str] = []
        db.set_trace_callback(steps.append)
        reads.find(db, Query(expired_by=T, states=(State.WAITING,)))
        db.set_trace_callback(None)
        found = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {steps[-1]}")]
    assert "SEARCH m USING INDEX message_expires (expires_at<?)" in found


# ---------------------------------------------------------------- commits


async def test_commits_are_counted_by_how_long_they_took(sqlite: SqliteStore) -> None:
    before = (await sqlite.stats()).store
    for n in range(5):
        await sqlite.submit([draft(str(n))], T)
    after = (await sqlite.stats()).store
    assert after["commits"] - before["commits"] == 5
    assert after["commit_seconds"] > before["commit_seconds"]
    bounds, counts = zip(*after["commit_buckets"], strict=True)
    assert bounds == (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, FOREVER)
    assert list(counts) == sorted(counts)
    assert counts[-1] == after["commits"]


async def test_a_step_that_wrote_nothing_is_no_commit(sqlite: SqliteStore) -> None:
    [lease] = await sqlite.lease("courier", [BOT], T + 60, T)
    before = (await sqlite.stats()).store["commits"]
    await sqlite.claim(lease, T, 10)
    assert (await sqlite.stats()).store["commits"] == before


async def test_a_lease_of_no_bot_is_written_so_that_it_fails_where_a_message_would(sqlite: SqliteStore) -> None:
    before = (await sqlite.stats()).store["commits"]
    assert await sqlite.lease("health", (), 0.0, T) == []
    assert (await sqlite.stats()).store["commits"] == before + 1
    assert rows(sqlite.path, "SELECT at FROM pulse") == [(T,)]
