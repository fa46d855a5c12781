"""The local journal: all or none, in order, once by id and key, across processes and crashes."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from kurir.core.errors import InvalidSetting, KeyConflict, SchemaMismatch, StoreAway, StoreFull
from kurir.core.message import Draft, FileRef, OnUnknown, Options, Ordering, Priority, State
from kurir.services.spooling import journal_of
from kurir.stores.journal import Journal
from kurir.stores.memory import MemoryStore
from kurir.stores.sqlite import SqliteStore

NOW = 1_800_000_000.0
BOT = 123456


def draft(id: str, chat: str = "42", **more: Any) -> Draft:
    return Draft(id, BOT, chat, "sendMessage", b'{"chat_id":42,"text":"Hello"}', NOW, **more)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "spool.db")
    await journal.open()
    yield journal
    await journal.close()


async def ids(journal: Journal) -> list[str]:
    return [entry.draft.id for entry in await journal.head(1000)]


async def fill(journal: Journal) -> None:
    for number in range(100_000):
        await journal.add([draft(f"m{number}")])


async def test_what_is_kept_comes_back_as_it_was(journal: Journal) -> None:
    full = draft(
        "m1",
        priority=Priority.CRITICAL,
        files=(FileRef("photo", "ab" * 32, 12, "cat.jpg", "image/jpeg", "photo"),),
        due_at=NOW + 60,
        expires_at=NOW + 600,
        key="order-1",
        digest=b"\x00\xff",
        target="7:editMessageText",
        coalesce=True,
        metadata={"order": "1"},
        options=Options(3, (1.0, 2.0), 5.0, 60.0, Ordering.STRICT, OnUnknown.HOLD),
        force=True,
    )
    plain = draft("m2", chat="")
    await journal.add([full, plain])
    assert [entry.draft for entry in await journal.head(10)] == [full, plain]


async def test_it_answers_as_a_store_does_and_says_that_it_is_spooled(journal: Journal) -> None:
    (accepted,) = await journal.add([draft("m1")])
    assert (accepted.id, accepted.state, accepted.duplicate, accepted.seq, accepted.spooled) == (
        "m1",
        State.WAITING,
        False,
        0,
        True,
    )


async def test_messages_stand_in_the_order_of_acceptance_also_when_earlier_ones_have_gone(journal: Journal) -> None:
    await journal.add([draft("b"), draft("a")])
    await journal.remove([entry.pos for entry in await journal.head(10)])
    await journal.add([draft("z")])
    await journal.add([draft("c")])
    assert await ids(journal) == ["z", "c"]


async def test_the_same_submit_once_more_is_kept_once(journal: Journal) -> None:
    for _ in range(2):
        (accepted,) = await journal.add([draft("m1", key="k", digest=b"1")])
        assert (accepted.id, accepted.duplicate) == ("m1", False)
    assert await ids(journal) == ["m1"]


async def test_a_known_key_with_the_same_body_answers_the_first_message(journal: Journal) -> None:
    await journal.add([draft("m1", key="k", digest=b"1")])
    (accepted,) = await journal.add([draft("m2", key="k", digest=b"1")])
    assert (accepted.id, accepted.duplicate, accepted.spooled) == ("m1", True, True)
    assert await ids(journal) == ["m1"]


async def test_a_known_key_with_another_body_is_refused_and_nothing_is_kept(journal: Journal) -> None:
    await journal.add([draft("m1", key="k", digest=b"1")])
    with pytest.raises(KeyConflict) as refused:
        await journal.add([draft("m2"), draft("m3", key="k", digest=b"2")])
    assert refused.value.id == "m1"
    assert await ids(journal) == ["m1"]


async def test_keys_inside_a_batch_follow_the_same_rules(journal: Journal) -> None:
    first, again = draft("m1", key="k", digest=b"1"), draft("m2", key="k", digest=b"1")
    answers = await journal.add([first, again])
    assert [(a.id, a.duplicate) for a in answers] == [("m1", False), ("m1", True)]
    with pytest.raises(KeyConflict):
        await journal.add([draft("m3", key="l", digest=b"1"), draft("m4", key="l", digest=b"2")])
    assert await ids(journal) == ["m1"]


async def test_keys_are_those_of_one_bot(journal: Journal) -> None:
    await journal.add([draft("m1", key="k", digest=b"1"), replace(draft("m2", key="k", digest=b"2"), bot=7)])
    assert await ids(journal) == ["m1", "m2"]


async def test_beyond_its_size_it_takes_nothing_and_what_is_there_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "spool.db", limit=200_000)
    await journal.open()
    with pytest.raises(StoreFull, match="is full") as refused:
        await fill(journal)
    assert "KURIR_SPOOL_MB" in refused.value.remedy
    assert (await journal.contents()).messages > 100
    with pytest.raises(StoreFull):
        await journal.add([draft(f"n{i}") for i in range(1000)])
    await journal.remove([entry.pos for entry in await journal.head(10_000)])
    await journal.add([draft("later")])
    await journal.close()


async def test_a_probe_tells_what_an_add_would(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "spool.db", limit=10)
    await journal.open()
    with pytest.raises(StoreFull):
        await journal.probe(NOW)
    await journal.close()
    with pytest.raises(StoreAway):
        await journal.probe(NOW)


async def test_what_one_process_keeps_all_others_see_at_once(tmp_path: Path) -> None:
    one, other = Journal(tmp_path / "spool.db"), Journal(tmp_path / "spool.db")
    await one.open()
    await other.open()
    assert not other.holds()
    await one.add([draft("m1")])
    assert other.holds()
    await other.remove([entry.pos for entry in await other.head(10)])
    assert not one.holds()
    await one.close()
    await other.close()


async def test_one_at_a_time_forwards(tmp_path: Path) -> None:
    one, other = Journal(tmp_path / "spool.db"), Journal(tmp_path / "spool.db")
    await one.open()
    await other.open()
    with one.forwarding() as first, other.forwarding() as second:
        assert (first, second) == (True, False)
    with other.forwarding() as second:
        assert second
    await one.close()
    await other.close()


async def test_what_is_set_aside_stands_in_nobodys_way_and_is_still_shown(journal: Journal) -> None:
    await journal.add([draft("m1"), draft("m2")])
    first, _ = await journal.head(10)
    await journal.set_aside(first.pos, "no such column")
    assert await ids(journal) == ["m2"]
    assert [(entry.draft.id, entry.stuck) for entry in await journal.page(10)] == [
        ("m1", "no such column"),
        ("m2", None),
    ]
    await journal.remove([entry.pos for entry in await journal.head(10)])
    assert (journal.holds(), journal.keeps()) == (False, True)
    assert await journal.unstick() == 1
    assert await ids(journal) == ["m1"]


async def test_it_tells_what_it_holds(journal: Journal) -> None:
    file = FileRef("photo", "ab" * 32, 12, "cat.jpg", "image/jpeg", "photo")
    await journal.add([draft("m1", files=(file,)), draft("m2")])
    contents = await journal.contents()
    assert (contents.messages, contents.stuck, contents.oldest_at) == (2, 0, NOW)
    assert 0 < contents.bytes < contents.limit
    assert await journal.files() == {"ab" * 32}
    (entry,) = await journal.find(["m2", "nobody"])
    assert (entry.record.id, entry.record.state, entry.record.accepted_at) == ("m2", State.WAITING, NOW)
    assert (entry.record.reason or "").startswith("spooled: ")


async def test_files_of_messages_count_once_into_its_size_and_leave_with_the_last_message(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "spool.db", limit=1_000_000)
    await journal.open()
    photo = FileRef("photo", "ab" * 32, 600_000, "cat.jpg", "image/jpeg", "photo")
    other = FileRef("photo", "cd" * 32, 600_000, "dog.jpg", "image/jpeg", "photo")
    empty = (await journal.contents()).bytes
    await journal.add([draft("m1", files=(photo,)), draft("m2", files=(photo, replace(photo, field="thumb")))])
    assert (await journal.contents()).bytes - empty == pytest.approx(600_000, abs=20_000)
    with pytest.raises(StoreFull):
        await journal.check_room([draft("m3", files=(other,))])
    with pytest.raises(StoreFull):
        await journal.add([draft("m3", files=(other,))])
    first, second = await journal.head(10)
    await journal.remove([second.pos])
    assert await journal.files() == {"ab" * 32}
    await journal.remove([first.pos])
    assert await journal.files() == set()
    await journal.add([draft("m3", files=(other,))])
    await journal.close()


async def test_a_file_of_a_newer_kurir_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaMismatch, match="Upgrade"):
        await Journal(tmp_path / "spool.db").open()


async def test_a_store_is_no_spool(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "kurir.db")
    await store.open()
    await store.close()
    with pytest.raises(SchemaMismatch):
        await Journal(tmp_path / "kurir.db").open()
    with pytest.raises(InvalidSetting, match="the store itself"):
        journal_of(tmp_path / "kurir.db", 1, store)
    with pytest.raises(InvalidSetting, match="is a folder"):
        journal_of(tmp_path, 1, MemoryStore())


async def test_a_folder_that_cannot_be_written_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreAway) as refused:
        await Journal(tmp_path / "file" / "spool.db").open()
    assert "KURIR_SPOOL" in refused.value.remedy


PROGRAM = """
import asyncio, sys
from pathlib import Path
from kurir.core.message import Draft
from kurir.stores.journal import Journal

async def main():
    journal = Journal(Path(sys.argv[1]))
    await journal.open()
    for number in range(1_000_000):
        id = f"{sys.argv[2]}-{number:06}"
        await journal.add([Draft(id, 1, "42", "sendMessage", b"{}", 0.0)])
        print(id, flush=True)

asyncio.run(main())
"""


def test_what_two_processes_were_told_is_kept_survives_their_sigkill_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "spool.db")]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    told = [[_stdout(writer).readline().strip() for _ in range(50)] for writer in writers]
    for writer, lines in zip(writers, told, strict=True):
        os.kill(writer.pid, signal.SIGKILL)
        rest = _stdout(writer).read()  # (not by `communicate`, which passes over what `readline` has buffered)
        writer.wait(timeout=10)
        lines += rest.splitlines()[:-1]  # the last one may be cut short
    kept = asyncio.run(_all_of(tmp_path / "spool.db"))
    for name, lines in zip("ab", told, strict=True):
        mine = [id for id in kept if id.startswith(name)]
        assert mine == sorted(mine)
        assert set(lines) <= set(mine)


def _stdout(writer: subprocess.Popen[str]) -> IO[str]:
    assert writer.stdout is not None
    return writer.stdout


async def _all_of(path: Path) -> list[str]:
    journal = Journal(path)
    await journal.open()
    kept = [entry.draft.id for entry in await journal.page(1_000_000)]
    await journal.close()
    return kept
