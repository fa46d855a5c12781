"""The views people read with plain SQL (A1, A7, B11, C8)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kurir.simulator import ChatState, Kind, Rule
from kurir.stores.sqlite import SqliteStore

from .helpers import in_virtual_time, playing

SENT, DEAD, LATE, STALE = "sent", "dead", "late", "stale"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A file after a day's work: 3 sent, 1 dead, 1 cancelled, 1 expired, 1 waiting, 1 retrying."""
    ids: dict[str, str] = {}

    @in_virtual_time
    async def work() -> None:
        async with playing(SqliteStore(tmp_path / "kurir.db", inline=True)) as (kurir, s):
            s.world.add_chat(9)
            s.world.set_state(9, ChatState.BLOCKED)
            s.world.faults.add(
                Rule(
                    Kind.STATUS_JSON, chat=6, times=1, status=400, description="Bad Request: WORKER_BUSY_TOO_LONG_RETRY"
                )
            )
            good = [await kurir.send_text(5, f"m{n}", metadata={"order": 42}) for n in range(2)]
            good.append(await kurir.send_text(6, "twice", priority="high", idempotency_key="order-42"))
            dead = await kurir.send_text(9, "x")
            await asyncio.gather(*(r.ended(60) for r in [*good, dead]))
            cancelled = await kurir.send_text(5, "x", due_at=s.clock.now() + 900)
            await kurir.cancel(cancelled.id)
            stale = await kurir.send_text(5, "x", due_at=s.clock.now() + 1, expires_at=s.clock.now() + 1.5)
            await kurir.store.steer(123456, chat="5", until=s.clock.now() + 60)
            await stale.ended(60)
            s.world.faults.add(
                Rule(Kind.STATUS_JSON, chat=7, status=400, description="Bad Request: WORKER_BUSY_TOO_LONG_RETRY")
            )
            retrying = await kurir.send_text(7, "x", backoff=[3000])
            waiting = await kurir.send_text(8, "x", due_at=s.clock.now() + 900)
            await s.sleep(5)
            ids.update(dead=dead.id, retrying=retrying.id, waiting=waiting.id, twice=good[2].id)

    work()
    db = sqlite3.connect(tmp_path / "kurir.db")
    db.row_factory = sqlite3.Row
    db.create_function("id_of", 1, ids.__getitem__)
    yield db
    db.close()


def rows(db: sqlite3.Connection, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in db.execute(sql)]


def test_a1_every_message_is_a_row_with_is_sent_error_and_times(db: sqlite3.Connection) -> None:
    found = rows(
        db, "SELECT state, is_sent, error IS NULL, accepted_at < '2028', count(*) FROM messages GROUP BY 1 ORDER BY 1"
    )
    assert found == [
        ("cancelled", 0, 0, 1, 1),
        ("dead", 0, 0, 1, 1),
        ("delivered", 1, 1, 1, 3),
        ("expired", 0, 0, 1, 1),
        ("waiting", 0, 0, 1, 2),
    ]


def test_a1_the_error_is_in_telegrams_words(db: sqlite3.Connection) -> None:
    (found,) = rows(db, "SELECT error FROM messages WHERE id = id_of('dead')")
    assert found == ("Forbidden: bot was blocked by the user",)


def test_a7_failures_per_day(db: sqlite3.Connection) -> None:
    assert rows(db, "SELECT day, bot, total, sent, failed, cancelled, success_rate FROM deliveries_by_day") == [
        ("2027-01-15", 123456, 5, 3, 2, 1, 60.0)
    ]


def test_a7_total_sent_and_success_rate_per_month(db: sqlite3.Connection) -> None:
    assert rows(db, "SELECT month, total, sent, failed, success_rate FROM deliveries_by_month") == [
        ("2027-01", 5, 3, 2, 60.0)
    ]


def test_a7_the_latest_failures(db: sqlite3.Connection) -> None:
    sql = "SELECT state, chat, method FROM messages WHERE state IN ('dead', 'expired') ORDER BY ended_at DESC LIMIT 10"
    assert rows(db, sql) == [("expired", "5", "sendMessage"), ("dead", "9", "sendMessage")]


def test_b11_the_log_is_queried_by_status_and_time(db: sqlite3.Connection) -> None:
    sql = "SELECT count(*) FROM messages WHERE state = 'delivered' AND ended_at BETWEEN '2027-01-15' AND '2027-01-16'"
    assert rows(db, sql) == [(3,)]


def test_b11_the_attempts_of_a_message(db: sqlite3.Connection) -> None:
    sql = "SELECT number, outcome, status, error FROM attempts WHERE message = id_of('twice') ORDER BY number"
    assert rows(db, sql) == [
        (1, "failed", 400, "Bad Request: WORKER_BUSY_TOO_LONG_RETRY"),
        (2, "delivered", 200, None),
    ]


def test_c7_an_orders_messages_by_its_metadata(db: sqlite3.Connection) -> None:
    sql = "SELECT count(*) FROM messages WHERE json_extract(metadata, '$.order') = '42'"
    assert rows(db, sql) == [(2,)]


def test_c8_pending_with_the_next_try(db: sqlite3.Connection) -> None:
    pending = "SELECT id = id_of('retrying'), attempts, error, due_at > accepted_at FROM messages"
    sql = f"{pending} WHERE state = 'waiting' ORDER BY attempts"
    assert rows(db, sql) == [(0, 0, None, 1), (1, 1, "Bad Request: WORKER_BUSY_TOO_LONG_RETRY", 1)]


def test_c8_the_share_by_status(db: sqlite3.Connection) -> None:
    sql = (
        "SELECT state, round(100.0 * count(*) / (SELECT count(*) FROM messages), 1) FROM messages GROUP BY 1 ORDER BY 1"
    )
    assert rows(db, sql) == [
        ("cancelled", 12.5),
        ("dead", 12.5),
        ("delivered", 37.5),
        ("expired", 12.5),
        ("waiting", 25.0),
    ]


def test_no_view_shows_a_token(db: sqlite3.Connection) -> None:
    for view in ("messages", "attempts", "chats", "suppressions", "deliveries_by_day", "deliveries_by_month"):
        assert "AAsecret" not in str([tuple(row) for row in db.execute(f"SELECT * FROM {view}")])
