"""`kurir move`: everything arrives, whatever happens on the way; and nothing is done that would harm."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kurir.core.errors import StoreError
from kurir.core.message import Attempt, Draft, FileRef, State
from kurir.core.rows import Section
from kurir.ports import Chunk, Query, Settlement
from kurir.services.moving import HELD, Move, Side
from kurir.simulator.harness import Telegram
from kurir.stores.sqlite import SqliteStore
from kurir.stores.urls import open_files
from kurir.telegram.spool import Spool
from tests.buckets import ENVIRONMENT, shared_bucket
from tests.servers import first_postgres, first_redis, shared

from .conftest import Cli, Process, until

Spawn = Callable[..., Process]
OLD, NEW = "sqlite:///old.db", "sqlite:///new.db"
BOT = 123456789


async def _fill(path: Path, count: int) -> None:
    store = SqliteStore(path)
    await store.open()
    now = time.time()
    for first in range(0, count, 1000):
        numbers = range(first, min(count, first + 1000))
        await store.submit([_draft(n, now) for n in numbers], now)
    [lease] = await store.lease("courier", [BOT], now + 60, now)
    claims = (await store.claim(lease, now, 30)).claims
    for claim in claims[:20]:
        attempt = Attempt(1, now, 0.1, "delivered", 200)
        await store.settle([Settlement(claim, State.DELIVERED, attempt, result=b'{"message_id":1}')], now)
    await store.lease("courier", [BOT], 0.0, now)
    await store.close()


def _draft(number: int, now: float) -> Draft:
    key = f"key-{number}" if number % 3 == 0 else None
    return Draft(
        f"m{number:06}",
        BOT,
        f"chat {number % 1000}",
        "sendMessage",
        b'{"text":"Hello"}',
        now,
        key=key,
        digest=b"d" * 32 if key else None,
        metadata={"n": str(number)} if number % 5 == 0 else None,
    )


def fill(path: str = "old.db", count: int = 100) -> None:
    """A store in which messages wait, some were delivered and ten are in flight under nobody's lease."""
    asyncio.run(_fill(Path(path), count))


def ask(path: str, sql: str) -> Any:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def change(path: str, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql)
        db.commit()


def records(cli: Cli, store: str) -> Sequence[Any]:
    return cli("--store", store, "list", "--all", "--json").lines


def test_everything_moves(cli: Cli) -> None:
    fill()
    cli("--store", OLD, "keys", "add", "shop", "--role", "send")
    cli("--store", OLD, "pause", str(BOT), "--for", "1h", "--reason", "inventory")
    before = Path("old.db").read_bytes()
    moved = cli("move", "--from", OLD, "--to", NEW, "--leave-source")
    assert moved.code == 0, moved.err
    assert "counts and checksums agree" in moved.out
    assert "set KURIR_STORE to sqlite:///" in moved.out
    assert records(cli, NEW) == records(cli, OLD)
    assert Path("old.db").read_bytes() == before
    assert cli("--store", NEW, "keys", "list", "--json").out == cli("--store", OLD, "keys", "list", "--json").out
    old, new = (cli("--store", store, "status", "--json").json["bots"] for store in (OLD, NEW))
    assert [{**bot, "oldest_due_seconds": 0} for bot in new] == [{**bot, "oldest_due_seconds": 0} for bot in old]


def test_what_was_in_flight_is_adopted_as_a_doubt(cli: Cli) -> None:
    fill()
    cli("move", "--from", OLD, "--to", NEW)

    async def adopted() -> set[str]:
        store = SqliteStore("new.db")
        await store.open()
        [lease] = await store.lease("next", [BOT], time.time() + 60, time.time())
        claims = await store.adopt(lease, 100)
        page = await store.find(Query(states=(State.SENDING,)))
        await store.close()
        assert lease.orphans
        assert len(page.items) == 10
        return {claim.id for claim in claims}

    assert len(asyncio.run(adopted())) == 10


def test_the_source_is_by_default_the_store_of_the_settings(cli: Cli) -> None:
    fill("kurir.db")
    moved = cli("move", "--to", NEW, "--json").json
    assert moved["same"]
    assert moved["from"].endswith("/kurir.db")
    counts = {s["section"]: (s["source"], s["target"]) for s in moved["sections"]}
    assert counts["messages"] == (100, 100)
    assert counts["lanes"] == (100, 100)


def _with_a_file(folder: str = "old.db.files") -> FileRef:
    """A message in the old store, whose file lies in a folder."""

    async def keep() -> FileRef:
        blob = await Spool(Path(folder)).add(b"meow" * 1000, name="photo", max_bytes=10**6)
        store = SqliteStore("old.db")
        await store.open()
        ref = FileRef("photo", blob.sha256, blob.size, "cat.jpg", "image/jpeg", "photo")
        params = b'{"photo":"attach://photo"}'
        await store.submit([Draft("p", BOT, "42", "sendPhoto", params, time.time(), files=(ref,))], time.time())
        await store.close()
        return ref

    return asyncio.run(keep())


def test_files_go_along(cli: Cli) -> None:
    ref = _with_a_file()
    assert cli("move", "--from", OLD, "--to", NEW, "--json").json["files"] == 1
    assert Spool(Path("new.db.files")).path(ref.sha256).read_bytes() == b"meow" * 1000


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return shared_bucket().fresh()


def _in_bucket(url: str) -> list[str]:
    async def names() -> list[str]:
        files = open_files(url)
        try:
            return await files.blobs(1e12)
        finally:
            await files.close()

    return asyncio.run(names())


def test_files_go_to_a_bucket_and_stay_there(cli: Cli, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = _with_a_file()
    moved = cli("move", "--from", OLD, "--to", NEW, "--files-to", bucket)
    assert moved.code == 0
    assert f"Set KURIR_FILES to {bucket}, too." in moved.out
    assert _in_bucket(bucket) == [ref.sha256]
    assert not Path("new.db.files").exists()
    monkeypatch.setenv("KURIR_FILES", bucket)
    again = cli("move", "--from", NEW, "--to", "sqlite:///third.db", "--json").json
    assert (again["same"], again["files"], again["missing_files"]) == (True, 0, [])
    assert not Path("third.db.files").exists()


def test_files_alone_go_to_another_place_and_what_was_broken_off_goes_on(cli: Cli, bucket: str) -> None:
    ref = _with_a_file()
    assert cli("move", "--from", OLD, "--files-to", bucket, "--check", "--json").json == {"files": 1}
    assert _in_bucket(bucket) == []
    for _ in range(2):
        assert cli("move", "--from", OLD, "--files-to", bucket, "--json").json == {"files": 1, "missing_files": []}
    assert _in_bucket(bucket) == [ref.sha256]
    back = cli("move", "--from", OLD, "--files-from", bucket, "--files-to", "back")
    assert "1 files are in back. Next: set KURIR_FILES" in back.out
    assert Spool(Path("back")).path(ref.sha256).read_bytes() == b"meow" * 1000


def test_a_move_to_nowhere_and_one_of_files_to_where_they_are_are_refused(cli: Cli) -> None:
    _with_a_file()
    assert cli("move", "--from", OLD).code == 2
    refused = cli("move", "--from", OLD, "--files-from", "here", "--files-to", "here")
    assert refused.code != 0
    assert "is where the files are" in refused.err


def test_files_go_to_no_place_without_a_name_and_not_out_of_memory(cli: Cli) -> None:
    _with_a_file()
    assert "--files-to: is empty" in cli("move", "--from", OLD, "--files-to", "").err
    assert "--files-to: names no S3 bucket" in cli("move", "--from", OLD, "--files-to", "s3://a/b").err
    assert "--from: memory://" in cli("move", "--from", "memory://", "--files-to", "there").err
    assert not Path("there").exists()


def test_a_damaged_file_is_told_of_and_not_carried(cli: Cli) -> None:
    fill()
    folder = Path("old.db.files") / "ab"
    folder.mkdir(parents=True)
    (folder / ("ab" * 32)).write_bytes(b"not that")
    moved = cli("move", "--from", OLD, "--to", NEW)
    assert moved.code == 1
    assert "damaged" in moved.err
    (folder / ("ab" * 32)).unlink()
    assert cli("move", "--from", OLD, "--to", NEW).code == 0


def test_check_changes_nothing(cli: Cli) -> None:
    fill()
    plan = cli("move", "--from", OLD, "--to", NEW, "--check", "--json").json
    assert (plan["ready"], plan["standing"], plan["messages"]) == (True, "empty", 100)
    assert not Path("new.db").exists()


# ---------------------------------------------------------------- servers


@pytest.fixture
def postgres() -> Iterator[str]:
    with shared(first_postgres()).fresh() as url:
        yield url


@pytest.fixture
def redis() -> Iterator[str]:
    with shared(first_redis()).fresh() as url:
        yield url


def test_everything_moves_from_engine_to_engine_and_back(cli: Cli, postgres: str, redis: str) -> None:
    fill(count=3000)
    cli("--store", OLD, "cancel", "m000100")
    cli("--store", OLD, "cancel", "m000200")
    cli("--store", OLD, "retry", "m000100")
    cli("--store", OLD, "pause", str(BOT), "--for", "1h", "--reason", "inventory")
    body = b"meow" * 500_000
    sha256 = asyncio.run(Spool(Path("old.db.files")).add(body, name="photo", max_bytes=10**7)).sha256
    expected = records(cli, OLD)
    for origin, goal in ((OLD, postgres), (postgres, redis), (redis, NEW)):
        moved = cli("move", "--from", origin, "--to", goal, "--json")
        assert moved.code == 0, moved.out + moved.err
        assert moved.json["same"]
        assert moved.json["files"] == 1
        assert records(cli, goal) == expected
        assert cli("--store", goal, "status", "--json").json["bots"][0]["paused_why"] == "inventory"
    assert Spool(Path("new.db.files")).path(sha256).read_bytes() == body


@pytest.mark.parametrize("engine", ["postgres", "redis"])
def test_a_move_to_a_server_that_is_killed_goes_on_where_it_was(
    cli: Cli, spawn: Spawn, request: pytest.FixtureRequest, engine: str
) -> None:
    goal = request.getfixturevalue(engine)
    fill(count=12_000)
    for after in (1.0, 1.4, 1.8, 2.2):
        moving = spawn("move", "--from", OLD, "--to", goal)
        time.sleep(after)
        moving.popen.kill()
        moving.popen.wait()
        plan = cli("move", "--from", OLD, "--to", goal, "--check", "--json").json
        if plan["standing"] == "in use":  # it was done
            break
        assert plan["standing"] in ("empty", "begun")
    else:
        assert cli("move", "--from", OLD, "--to", goal).code == 0
    assert records(cli, goal) == records(cli, OLD)
    assert cli("--store", goal, "status", "--json").json["bots"][0]["paused_until"] is None


def test_a_password_is_shown_nowhere(cli: Cli, redis: str) -> None:
    fill()
    secret = redis.replace("redis://", "redis://:geheim@")
    for words in (("--check",), ()):
        told = cli("move", "--from", OLD, "--to", secret, *words)
        assert "geheim" not in told.out + told.err


# ---------------------------------------------------------------- what is refused


def test_a_target_that_is_not_empty_is_refused(cli: Cli) -> None:
    fill()
    fill("new.db", 30)
    refused = cli("move", "--from", OLD, "--to", NEW)
    assert refused.code == 1
    assert "is not empty" in refused.err
    assert ask("new.db", "SELECT count(*) FROM message") == [(30,)]
    assert cli("move", "--from", OLD, "--to", NEW, "--check").code == 1


def test_moving_again_after_it_is_done_is_refused(cli: Cli) -> None:
    fill()
    assert cli("move", "--from", OLD, "--to", NEW).code == 0
    assert "is not empty" in cli("move", "--from", OLD, "--to", NEW).err


def test_a_target_that_another_store_is_moving_to_is_refused(cli: Cli) -> None:
    fill()
    fill("third.db")
    cli("--store", NEW, "status")
    change("new.db", """INSERT INTO move VALUES ('{"source":"sqlite:///elsewhere.db"}')""")
    assert "is being filled from sqlite:///elsewhere.db" in cli("move", "--from", OLD, "--to", NEW).err


def test_a_store_that_somebody_sends_from_is_refused(cli: Cli, spawn: Spawn) -> None:
    fill()
    worker = spawn("--store", OLD, "worker")
    until(lambda: bool(ask("old.db", "SELECT 1 FROM bot WHERE holder IS NOT NULL")), "a worker that sends")
    refused = cli("move", "--from", OLD, "--to", NEW)
    assert refused.code == 1
    assert f":{worker.popen.pid}:" in refused.err
    worker.signal(signal.SIGTERM)
    assert cli("move", "--from", OLD, "--to", NEW).code == 0


def test_wait_lets_who_sends_come_to_an_end(cli: Cli, spawn: Spawn) -> None:
    fill()
    worker = spawn("--store", OLD, "worker")
    until(lambda: bool(ask("old.db", "SELECT 1 FROM bot WHERE holder IS NOT NULL")), "a worker that sends")
    moving = spawn("move", "--from", OLD, "--to", NEW, "--wait", "30s")
    until(lambda: Path("new.db").exists(), "a move that waits")
    assert worker.signal(signal.SIGTERM).code == 0
    assert moving.finish().code == 0


def test_the_same_store_a_missing_one_and_memory_are_refused(cli: Cli) -> None:
    assert "there is no file" in cli("move", "--from", OLD, "--to", NEW).err
    fill()
    assert "is the store to move from" in cli("move", "--from", OLD, "--to", "sqlite:///./old.db").err
    assert "one process" in cli("move", "--from", OLD, "--to", "memory://").err


# ---------------------------------------------------------------- broken off, and changed meanwhile


def test_a_move_that_is_killed_again_and_again_goes_on_where_it_was(cli: Cli, spawn: Spawn) -> None:
    fill(count=30_000)
    bots = ask("old.db", "SELECT id, token, paused_until FROM bot")
    rng, stages = random.Random(4), []
    for _ in range(12):
        moving = spawn("move", "--from", OLD, "--to", NEW)
        begun = stage()
        until(lambda begun=begun, moving=moving: stage() != begun or moving.popen.poll() is not None, "a step")
        time.sleep(rng.uniform(0, 0.3))
        moving.popen.kill()
        moving.popen.wait()
        stages.append(stage())
        if stages[-1] is None:
            break
        if '"section":""' in stages[-1]:  # all was verified
            continue
        assert ask("new.db", "SELECT count(*) FROM bot WHERE paused_until < 1e300") == [(0,)]
    assert len([s for s in stages if s and '"messages"' in s]) >= 2
    if stages[-1] is not None:
        assert cli("move", "--from", OLD, "--to", NEW).code == 0
    assert records(cli, NEW) == records(cli, OLD)
    assert stage() is None
    counts = "SELECT bot, waiting, sending, delivered, lanes FROM tally"
    assert ask("new.db", counts) == ask("old.db", counts)
    assert ask("new.db", "SELECT id, token, paused_until FROM bot") == bots


def break_off(section: str) -> None:
    """The target is as a run leaves it that ends there."""
    mark = json.dumps({"source": f"sqlite:///{Path('old.db').resolve()}", "section": section, "cursor": None})
    change("new.db", f"INSERT INTO move VALUES ('{mark}')")


def stage() -> str | None:
    """What the target has noted of the move."""
    if not Path("new.db").exists() or not ask("new.db", "SELECT 1 FROM sqlite_schema WHERE name = 'move'"):
        return None
    found = ask("new.db", "SELECT mark FROM move")
    return found[0][0] if found else None


def test_a_source_that_changed_is_found_out_and_moving_again_mends_it(cli: Cli, spawn: Spawn) -> None:
    fill(count=100)
    assert cli("move", "--from", OLD, "--to", NEW, "--check").code == 0
    cli("move", "--from", OLD, "--to", NEW, "--leave-source")
    break_off("files")
    change("old.db", "UPDATE message SET params = '{\"text\":\"Bye\"}' WHERE id = 'm000050'")
    cli("--store", OLD, "send", "42", "one more")
    differs = cli("move", "--from", OLD, "--to", NEW)
    assert differs.code == 1
    assert "message m000050: not alike" in differs.out
    assert ": only in the source" in differs.out
    assert "Everything has moved" not in differs.out
    again = cli("move", "--from", OLD, "--to", NEW)
    assert again.code == 0, again.out
    assert records(cli, NEW) == records(cli, OLD)


def test_nobody_sends_from_the_target_before_it_is_verified(cli: Cli) -> None:
    fill()
    damaged = Path("old.db.files") / "ab" / ("ab" * 32)
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not that")
    assert cli("move", "--from", OLD, "--to", NEW).code == 1
    assert ask("new.db", "SELECT paused_why, paused_until > 1e300 FROM bot") == [(HELD, 1)]
    damaged.unlink()
    assert cli("move", "--from", OLD, "--to", NEW).code == 0
    assert ask("new.db", "SELECT paused_why, paused_until FROM bot") == [(None, 0)]


@pytest.mark.parametrize("held", [True, False])
def test_a_move_broken_off_after_it_was_verified_compares_again(cli: Cli, held: bool) -> None:
    fill()
    cli("move", "--from", OLD, "--to", NEW, "--leave-source")
    break_off("")
    if held:
        change("new.db", f"UPDATE bot SET paused_until = 9e999, paused_why = '{HELD}'")
    cli("--store", OLD, "send", "42", "one more")
    differs = cli("move", "--from", OLD, "--to", NEW)
    assert differs.code == 1
    assert ": only in the source" in differs.out
    assert ("an earlier run let the bots of the new store send" in differs.out) == (not held)
    assert ask("old.db", "SELECT paused_until FROM bot") == [(0,)]
    again = cli("move", "--from", OLD, "--to", NEW)
    assert again.code == (0 if held else 1)  # nothing is copied over what may be at work
    assert (len(records(cli, NEW)) == len(records(cli, OLD))) == held


def test_a_pause_made_since_a_move_was_broken_off_stays(cli: Cli) -> None:
    fill()
    cli("move", "--from", OLD, "--to", NEW, "--leave-source")
    break_off("")
    cli("--store", NEW, "pause", str(BOT), "--reason", "not yet")
    again = cli("move", "--from", OLD, "--to", NEW, "--json")
    assert again.code == 0
    assert {s["section"]: s["source"] for s in again.json["sections"]}["messages"] == 100
    assert ask("new.db", "SELECT paused_why FROM bot") == [("not yet",)]
    assert stage() is None


def test_a_move_broken_off_before_the_source_is_paused_pauses_it(cli: Cli) -> None:
    fill()
    cli("--store", OLD, "pause", str(BOT), "--for", "1h", "--reason", "inventory")
    cli("move", "--from", OLD, "--to", NEW, "--leave-source")
    break_off("")
    for _ in range(2):
        assert cli("move", "--from", OLD, "--to", NEW, "--json").json["source_paused"]
        assert ask("new.db", "SELECT paused_why FROM bot") == [("inventory",)]
        assert ask("old.db", "SELECT paused_until > 1e300 FROM bot") == [(1,)]
        break_off("")


# ---------------------------------------------------------------- afterwards


def test_nothing_goes_out_from_the_source_a_second_time(cli: Cli, spawn: Spawn, telegram: Telegram) -> None:
    cli("--store", OLD, "send", "42", "moves")
    moved = cli("move", "--from", OLD, "--to", NEW)
    assert "nothing goes out from it a second time" in moved.out
    why = f"moved to sqlite:///{Path('new.db').resolve()}"
    [bot] = cli("--store", OLD, "status", "--json").json["bots"]
    assert (bot["state"], bot["paused_until"], bot["paused_why"]) == ("paused", None, why)
    worker = spawn("--store", OLD, "worker")
    until(lambda: bool(ask("old.db", "SELECT 1 FROM bot WHERE holder IS NOT NULL")), "a worker that was missed")
    cli("--store", OLD, "send", "42", "to the wrong store")
    assert worker.signal(signal.SIGTERM).code == 0
    assert not telegram.sent(42)
    [bot] = cli("--store", NEW, "status", "--json").json["bots"]
    assert (bot["state"], bot["waiting"]) == ("no worker", 1)


class Handed(SqliteStore):
    """It is handed one more message once its messages were compared."""

    looks = 0

    async def dump(self, section: Section, cursor: str | None = None, limit: int = 1000) -> Chunk:
        if section is Section.FILE_IDS:
            self.looks += 1
            if self.looks == 2:
                await self.submit([_draft(999_999, time.time())], time.time())
        return await super().dump(section, cursor, limit)


async def test_what_is_handed_to_the_source_while_it_is_compared_is_found_out(tmp_path: Path) -> None:
    await _fill(tmp_path / "old.db", 100)
    old, new = Handed(tmp_path / "old.db"), SqliteStore(tmp_path / "new.db")
    await old.open()
    await new.open()
    move = Move(Side("old", old), Side("new", new))
    with pytest.raises(StoreError, match="written to while it was compared"):
        await move.run()
    assert [bot.paused_why for bot in (await new.stats()).bots] == [HELD]
    assert (await move.run()).same
    assert (await new.stats()).bots[0].waiting == 81
    await old.close()
    await new.close()
