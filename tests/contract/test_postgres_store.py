"""What only the PostgreSQL store has: migrations, views for people, group commit, hints, and what it costs to claim."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kurir.core.errors import InvalidMessage, InvalidSetting, KeyConflict, SchemaMismatch, StoreAway, StoreError
from kurir.core.message import Attempt, State
from kurir.ports import ApiKey, Lease, Query, Settlement
from kurir.stores.postgres import PostgresStore, searching
from kurir.stores.postgres.address import parse
from kurir.stores.sqlite import SqliteStore
from tests.servers import PostgresServer, first_postgres, private

from .steps import BOT, Post, T, call, draft, edit, ids

VIEWS = ("messages", "attempts", "chats", "suppressions", "deliveries_by_day", "deliveries_by_month")


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    """Its own clock counts, as in production."""
    store = PostgresStore(postgres_url)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def post(postgres_url: str) -> AsyncIterator[Post]:
    """The test's clock counts."""
    store = PostgresStore(postgres_url, own_clock=False)
    await store.open()
    post = Post(store)
    await post.take()
    yield post
    await store.close()


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Any]:
    """A connection of somebody else's; names stand for those of the store's schema."""
    address = parse(postgres_url)
    connection = await asyncpg.connect(address.dsn, server_settings={"search_path": address.schema})
    yield connection
    await connection.close()


async def test_the_leases_of_a_store_that_closes_end(postgres_url: str) -> None:
    one, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
    await one.open()
    await other.open()
    now = one.clock.now()
    assert await one.lease("one", [1, 2], now + 60, now)
    assert await one.lease("one", [2], 0.0, now) == []
    assert await other.lease("other", [1], now + 60, now) == []
    await one.close()
    [lease] = await other.lease("other", [1], now + 60, now)
    assert lease.token == 2
    await other.close()


async def test_a_store_that_closes_while_its_server_hangs_is_not_held_up_by_its_leases() -> None:
    with private(first_postgres()) as server:
        store = PostgresStore(server.url)
        await store.open()
        now = store.clock.now()
        assert await store.lease("one", [1], now + 60, now)
        server.pause()
        began = time.monotonic()
        await store.close()
        assert time.monotonic() - began < 6.0


# ---------------------------------------------------------------- migrations


async def test_ten_workers_that_start_at_once_make_the_schema_once(postgres_url: str, db: Any) -> None:
    stores = [PostgresStore(postgres_url) for _ in range(10)]
    await asyncio.gather(*(store.open() for store in stores))
    assert await db.fetchval("SELECT count(*) FROM version") == 1
    accepted = await asyncio.gather(*(s.submit([draft(str(n))], T) for n, s in enumerate(stores)))
    assert sorted(answer.seq for [answer] in accepted) == list(range(1, 11))
    for store in stores:
        await store.close()


async def test_a_newer_schema_is_refused_and_left_alone(store: PostgresStore, db: Any, postgres_url: str) -> None:
    await db.execute("UPDATE version SET number = number + 1")
    with pytest.raises(SchemaMismatch, match="Upgrade Kurir"):
        await PostgresStore(postgres_url).open()
    assert (await store.submit([draft("m")], T))[0].state is State.WAITING


async def test_newer_functions_of_the_same_schema_are_left_alone(
    store: PostgresStore, db: Any, postgres_url: str
) -> None:
    await db.execute("UPDATE version SET revision = revision + 1")
    other = PostgresStore(postgres_url)
    await other.open()
    await other.close()
    assert await db.fetchval("SELECT revision FROM version") > 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:1/x?schema=a-b",
        "postgresql://127.0.0.1:1/x?pool=none",
        "postgresql://127.0.0.1:1/x?timeout=-1",
        "mysql://127.0.0.1:1/x",
    ],
)
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidSetting, match="KURIR_STORE"):
        PostgresStore(url)


async def test_a_parameter_that_nobody_knows_is_refused(postgres_url: str) -> None:
    with pytest.raises(InvalidSetting, match="unheard_of"):
        await PostgresStore(f"{postgres_url}&unheard_of=1").open()


async def test_a_server_that_is_not_there_is_away_and_its_password_is_not_told() -> None:
    store = PostgresStore("postgresql://me:secret@127.0.0.1:1/x")
    with pytest.raises(StoreAway) as away:
        await store.open()
    assert "127.0.0.1:1/x" in str(away.value)
    assert "secret" not in str(away.value)
    with pytest.raises(StoreAway, match="not open"):
        await store.submit([draft("m")], T)


async def test_of_several_servers_the_one_that_takes_writes_is_meant() -> None:
    assert "target_session_attrs=read-write" in parse("postgresql://a:1,b:2/x").dsn
    assert "target_session_attrs=any" in parse("postgresql://a:1,b:2/x?target_session_attrs=any").dsn


# ---------------------------------------------------------------- views


@pytest.mark.parametrize("view", VIEWS)
async def test_people_find_the_same_columns_as_in_sqlite(
    store: PostgresStore, db: Any, tmp_path: Path, view: str
) -> None:
    other = SqliteStore(tmp_path / "kurir.db")
    await other.open()
    await other.close()
    with contextlib.closing(sqlite3.connect(other.path)) as sqlite:
        columns = [row[1] for row in sqlite.execute(f"PRAGMA table_info({view})")]
    statement = await db.prepare(f"SELECT * FROM {view}")
    assert [attribute.name for attribute in statement.get_attributes()] == columns


async def test_the_views_tell_of_everything(post: Post, db: Any) -> None:
    await post.submit(
        draft("sent"), draft("dead", "b"), draft("waiting", expires_at=T + 9), draft("flying", "c"), edit("e", 5)
    )
    sent, dead, _ = (await post.claim()).claims
    await post.settle(sent, attempt=call(1), result=b'{"message_id":7}')
    await post.settle(dead, State.DEAD, reason="blocked", suppress="blocked")
    states = dict(await db.fetch("SELECT id, state FROM messages"))
    assert states == {"sent": "delivered", "dead": "dead", "waiting": "waiting", "flying": "sending", "e": "waiting"}
    attempt = dict(await db.fetchrow("SELECT * FROM attempts WHERE message = 'sent'"))
    assert (attempt["number"], attempt["duration_ms"], attempt["status"]) == (1, 250, 200)
    assert attempt["result"] == '{"message_id":7}'
    assert [row["total"] for row in await db.fetch("SELECT * FROM deliveries_by_day")] == [2]
    assert [row["why"] for row in await db.fetch("SELECT * FROM suppressions")] == ["blocked"]
    assert {row["chat"]: row["next_message"] for row in await db.fetch("SELECT * FROM chats")}["c"] == "flying"


@pytest.mark.parametrize("view", VIEWS)
async def test_no_view_shows_an_api_key(store: PostgresStore, db: Any, view: str) -> None:
    await store.add_key(ApiKey("k_1", "name of the key", "send", b"digest", T))
    assert await db.fetch(f"SELECT * FROM {view}") == []


# ---------------------------------------------------------------- group commit


async def test_submits_at_about_the_same_time_are_few_transactions(store: PostgresStore) -> None:
    answers = await asyncio.gather(*(store.submit([draft(str(n), str(n))], T) for n in range(500)))
    assert sorted(answer.seq for [answer] in answers) == list(range(1, 501))
    assert (await store.stats()).store["commits"] < 50


async def test_one_that_is_refused_takes_nobody_along(store: PostgresStore) -> None:
    await store.submit([draft("first", key="k", digest=b"1")], T)
    bad = {7: draft("clash", key="k", digest=b"2"), 9: draft("nul", metadata={"a": "\0"})}
    given = [bad.get(n) or draft(str(n), str(n), priority=0) for n in range(20)]
    answers = await asyncio.gather(*(store.submit([one], T) for one in given), return_exceptions=True)
    refused = {n: type(answer) for n, answer in enumerate(answers) if isinstance(answer, Exception)}
    assert refused == {7: KeyConflict, 9: InvalidMessage}
    assert len((await store.find(Query())).items) == 19


async def test_what_a_process_submits_to_a_chat_keeps_its_order(store: PostgresStore) -> None:
    await asyncio.gather(*(store.submit([draft(f"{n:03}", str(n % 3))], T) for n in range(300)))
    found = (await store.find(Query(oldest_first=True, limit=1000))).items
    for chat in "012":
        its = [record.id for record in found if record.chat == chat]
        assert its == sorted(its)


async def test_what_was_handed_over_is_done_though_its_caller_left(store: PostgresStore) -> None:
    submit = asyncio.create_task(store.submit([draft("m")], T))
    await asyncio.sleep(0)
    submit.cancel()
    [lease] = await store.lease("courier", [BOT], time.time() + 60, time.time())
    claims: tuple[Any, ...] = ()
    async with asyncio.timeout(10):
        while not claims:
            claims = (await store.claim(lease, time.time(), 1)).claims
    settle = asyncio.create_task(store.settle([Settlement(claims[0], State.DELIVERED)], T))
    await asyncio.sleep(0)
    settle.cancel()
    await store.close()
    await store.open()
    assert (await store.find(Query())).items[0].state is State.DELIVERED


# ---------------------------------------------------------------- many at once


async def deliver(
    store: PostgresStore, lease: Lease, seen: dict[str, list[str]], most: int, rng: random.Random
) -> None:
    """A courier: claims and settles until so many were sent; one in five goes through a quick retry."""
    while sum(map(len, seen.values())) < most:
        claimed = await store.claim(lease, time.time(), rng.randint(1, 20))
        settlements = []
        for claim in claimed.claims:
            if rng.random() < 0.2:
                settlements.append(Settlement(claim, State.WAITING))
            else:
                seen[claim.chat].append(claim.id)
                settlements.append(Settlement(claim, State.DELIVERED, Attempt(1, time.time(), 0.1, "delivered", 200)))
        assert all(await store.settle(settlements, time.time()))
        await asyncio.sleep(0)


async def test_submitters_and_couriers_on_the_same_lanes_get_along_and_keep_the_order(postgres_url: str) -> None:
    handles = [PostgresStore(postgres_url) for _ in range(5)]
    await asyncio.gather(*(handle.open() for handle in handles))
    rng = random.Random(1)
    sent: dict[str, list[str]] = defaultdict(list)
    seen: dict[str, list[str]] = defaultdict(list)

    async def submitter(handle: PostgresStore, name: str) -> None:
        for n in range(20):
            chats = [str(rng.randrange(12)) for _ in range(10)]
            batch = [draft(f"{name}-{n:02}-{i:02}", f"{name[0]}{chat}") for i, chat in enumerate(chats)]
            await handle.submit(batch, time.time())
            for one in batch:
                sent[one.chat].append(one.id)

    [lease] = await handles[4].lease("courier", [BOT], time.time() + 600, time.time())
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number, handle in enumerate(handles[:4]):
            group.create_task(submitter(handle, "abcd"[number]))  # each has chats of its own, whose order is known
        group.create_task(deliver(handles[4], lease, seen, 800, rng))
    assert seen == sent
    [stats] = (await handles[0].stats()).bots
    assert (stats.waiting, stats.sending, stats.lanes, stats.delivered, stats.fenced) == (0, 0, 0, 800, 0)
    for handle in handles:
        await handle.close()


async def test_batches_that_cross_each_other_neither_deadlock_nor_lose(postgres_url: str) -> None:
    handles = [PostgresStore(postgres_url) for _ in range(4)]
    await asyncio.gather(*(handle.open() for handle in handles))

    async def submitter(handle: PostgresStore, name: int) -> None:
        rng = random.Random(name)
        for n in range(25):
            chats = rng.sample(range(40), 20)
            await handle.submit([draft(f"{name}-{n}-{chat}", str(chat)) for chat in chats], time.time())

    async with asyncio.timeout(60):
        await asyncio.gather(*(submitter(handle, n) for n, handle in enumerate(handles)))
    [stats] = (await handles[0].stats()).bots
    assert (stats.waiting, stats.lanes) == (4 * 25 * 20, 40)
    for handle in handles:
        await handle.close()


async def test_two_that_claim_with_one_lease_get_nothing_twice(postgres_url: str) -> None:
    handles = [PostgresStore(postgres_url) for _ in range(2)]
    await asyncio.gather(*(handle.open() for handle in handles))
    await handles[0].submit([draft(str(n), str(n)) for n in range(200)], T)
    [lease] = await handles[0].lease("courier", [BOT], time.time() + 600, time.time())
    answers = await asyncio.gather(*(handles[n % 2].claim(lease, time.time(), 15) for n in range(16)))
    claimed = [claim.id for answer in answers for claim in answer.claims]
    assert len(claimed) == len(set(claimed)) == 200
    for handle in handles:
        await handle.close()


# ---------------------------------------------------------------- the server's time


async def test_leases_count_by_the_servers_clock_whatever_the_callers_says(store: PostgresStore) -> None:
    [lease] = await store.lease("a", [BOT], 30.0, 0.0)
    assert abs(lease.until - time.time() - 30) < 5
    assert await store.lease("b", [BOT], 1e12 + 30, 1e12) == []
    await store.submit([draft("m")], 0.0)
    assert ids(await store.claim(lease, 1e12, 1)) == ["m"]


async def test_the_clock_is_the_servers(store: PostgresStore, db: Any) -> None:
    assert abs(store.clock.now() - await db.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")) < 0.5


# ---------------------------------------------------------------- hints


async def test_another_handle_hears_of_a_change(store: PostgresStore, postgres_url: str) -> None:
    other = PostgresStore(postgres_url)
    await other.open()
    await other.watch(0.3)  # (it begins to listen)
    watching = asyncio.create_task(other.watch(60))
    await asyncio.sleep(0.1)
    await store.submit([draft("m")], T)
    await asyncio.wait_for(watching, 5)
    await other.close()


async def test_hints_come_again_when_the_listening_connection_was_cut(
    store: PostgresStore, db: Any, postgres_url: str
) -> None:
    other = PostgresStore(postgres_url)
    await other.open()
    await other.watch(0.3)
    await cut(db)
    watching = asyncio.create_task(other.watch(60))
    await asyncio.sleep(0.1)
    await store.submit([draft("m")], T)
    await asyncio.wait_for(watching, 5)
    await other.close()


async def cut(db: Any) -> None:
    """End all other connections to the server's database."""
    await db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                     " AND datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip


async def test_connections_that_an_administrator_ended_are_made_anew(store: PostgresStore, db: Any) -> None:
    for n in range(3):
        await store.submit([draft(str(n))], T)
        await cut(db)
    assert len((await store.find(Query())).items) == 3


async def test_a_server_that_turned_read_only_is_asked_again_by_another_connection(store: PostgresStore) -> None:
    await store._run(lambda connection: connection.execute("SET default_transaction_read_only = on"))
    assert len(await store.submit([draft("m")], T)) == 1


# ---------------------------------------------------------------- searches


async def test_a_search_that_takes_too_long_is_given_up_and_holds_up_nobody(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, db: Any
) -> None:
    monkeypatch.setattr(searching, "LONGEST", 0.5)
    store = PostgresStore(postgres_url)
    await store.open()
    await store.submit([draft("m")], T)
    transaction = db.transaction()
    await transaction.start()
    await db.execute("LOCK TABLE ended")  # whoever looks there waits
    searches = [asyncio.create_task(store.find(Query(method="sendPhoto"))) for _ in range(5)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(0.4):
        await store.steer(BOT, until=0.0)
    outcomes = await asyncio.gather(*searches, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreError}
    assert "given up" in str(outcomes[0])
    await transaction.rollback()
    assert (await store.find(Query(method="sendPhoto"))).items == ()
    await store.close()


# ---------------------------------------------------------------- what a claim costs


async def entries_read(db: Any) -> int:
    """How many entries of the index of ready lanes were looked at so far, living and dead."""
    await db.execute("SELECT pg_stat_clear_snapshot()")
    read: int = await db.fetchval("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'lane_ready'"
                                  " AND schemaname = current_schema()")  # fmt: skip
    return read


async def settled_entries(store: PostgresStore, db: Any) -> int:
    """The same, when the store's connections have told what they did."""
    await asyncio.sleep(1.1)
    for _ in range(3):
        await store._run(lambda connection: connection.execute("SELECT 1"))
    before = -1
    async with asyncio.timeout(10):
        while (now := await entries_read(db)) != before:
            before = now
            await asyncio.sleep(0.3)
    return now


async def test_a_claim_does_not_walk_over_what_is_dead_but_cannot_be_removed(
    store: PostgresStore, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kurir.stores.postgres.claims.LOOK_EVERY", 3600.0)
    monkeypatch.setattr("kurir.stores.postgres.claims.SLACK", 0.05)
    [lease] = await store.lease("courier", [BOT], time.time() + 600, time.time())
    await store.submit([draft(str(n), str(n)) for n in range(500)], T)
    snapshot = db.transaction(isolation="repeatable_read")
    await snapshot.start()
    await db.fetchval("SELECT count(*) FROM lane")
    for n in range(10):
        claims = (await store.claim(lease, time.time(), 500)).claims
        assert len(claims) == 500
        await store.settle([Settlement(claim, State.DELIVERED) for claim in claims], time.time())
        await store.submit([draft(f"{n}-{claim.chat}", claim.chat) for claim in claims], T)
    await asyncio.sleep(0.1)
    await store.claim(lease, time.time(), 1)
    before = await settled_entries(store, db)
    for _ in range(20):
        assert len((await store.claim(lease, time.time(), 5)).claims) == 5
    assert await settled_entries(store, db) - before < 20 * 60  # of the 5,000 that are dead
    await snapshot.rollback()


async def test_a_lane_that_becomes_ready_in_the_past_is_found(store: PostgresStore) -> None:
    [lease] = await store.lease("courier", [BOT], time.time() + 600, time.time())
    await store.submit([draft("held", "a"), draft("later", "b")], T)
    await store.steer(BOT, chat="a", until=float("inf"))
    assert ids(await store.claim(lease, time.time(), 9)) == ["later"]
    for _ in range(3):
        assert ids(await store.claim(lease, time.time(), 9)) == []
    await store.steer(BOT, chat="a", until=0.0)
    assert ids(await store.claim(lease, time.time(), 9)) == ["held"]


# ---------------------------------------------------------------- what it tells of itself


async def test_it_tells_what_a_crash_can_cost(store: PostgresStore, postgres_server: PostgresServer) -> None:
    told = (await store.stats()).store
    assert told["engine"].startswith("PostgreSQL 1")
    assert told["bytes"] > 0
    assert told["durability"].startswith("fsync is off")  # as the tests' server has it
    assert told["warnings"] == [told["durability"]]


async def test_a_commit_is_waited_for_whatever_the_servers_default(postgres_url: str, db: Any) -> None:
    store = PostgresStore(f"{postgres_url}&synchronous_commit=off")
    await store.open()
    assert any("synchronous_commit" in warning for warning in (await store.stats()).store["warnings"]) or (
        "fsync" in (await store.stats()).store["durability"]
    )
    sql = store._engine.sql("SELECT seqs, current_setting('synchronous_commit') FROM kurir.submit")
    values = "(NULL, '{m}', '{1}', '{x}', '{}', '{2}', '{0}', '{NULL}', '{1}', '{a}')".replace("'{}'", "'{\"{}\"}'")
    assert tuple(await store._run(lambda connection: connection.fetchrow(sql + values))) == ([1], "on")
    await store.close()
