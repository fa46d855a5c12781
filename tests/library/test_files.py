"""Files: uploaded once for a bot, then sent by file_id."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kurir import InputFile, KeyConflict, Message, State
from kurir.ports import Store
from kurir.simulator import Kind, Rule

from .helpers import in_virtual_time, params, playing

JPEG = b"\xff\xd8\xff" + bytes(500)


def uploads(s: object) -> int:
    return sum(len(call.parts) for _, call in s.wire.sends())  # type: ignore[attr-defined]


@in_virtual_time
async def test_a_photo_for_fifty_chats_is_uploaded_once(store: Store, tmp_path: Path) -> None:
    async with playing(store, latency=0.1, files=tmp_path / "spool") as (kurir, s):
        photo = tmp_path / "a.jpg"
        photo.write_bytes(JPEG)
        receipts = await kurir.submit(
            [Message("sendPhoto", {"chat_id": chat, "photo": photo, "caption": "news"}) for chat in range(1, 51)]
        )
        results = await asyncio.gather(*(r.delivered(60) for r in receipts))
        assert uploads(s) == 1
        assert len({r["photo"][-1]["file_unique_id"] for r in results}) == 1
        blobs = [f for f in (tmp_path / "spool").rglob("*") if f.is_file() and f.name != ".lock"]
        assert len(blobs) == 1


@in_virtual_time
async def test_the_file_id_is_remembered_across_a_restart(tmp_path: Path) -> None:
    async with playing(files=tmp_path) as (kurir, s):
        await (await kurir.send_photo(5, JPEG)).delivered(10)
        await kurir.close()
        async with s.kurir(kurir.store, files=tmp_path) as again:
            await (await again.send_photo(6, JPEG)).delivered(10)
        assert uploads(s) == 1


@in_virtual_time
async def test_each_kind_of_one_file_is_uploaded_for_itself(store: Store, tmp_path: Path) -> None:
    async with playing(store, files=tmp_path / "spool") as (kurir, s):
        for _ in range(2):
            await (await kurir.send_photo(5, JPEG)).delivered(10)
            await (await kurir.send_document(5, JPEG)).delivered(10)
        assert uploads(s) == 2


@in_virtual_time
async def test_a_file_id_that_telegram_forgot_is_uploaded_anew(store: Store, tmp_path: Path) -> None:
    async with playing(store, files=tmp_path / "spool") as (kurir, s):
        await (await kurir.send_photo(5, JPEG)).delivered(10)
        s.world.files._stored.clear()
        await (await kurir.send_photo(6, JPEG)).delivered(60)
        assert uploads(s) == 2
        await (await kurir.send_photo(7, JPEG)).delivered(60)
        assert uploads(s) == 2


@in_virtual_time
async def test_a_stale_file_id_costs_no_try(tmp_path: Path) -> None:
    async with playing(files=tmp_path / "spool") as (kurir, s):
        await (await kurir.send_photo(5, JPEG)).delivered(10)
        s.world.files._stored.clear()
        await (await kurir.send_photo(6, JPEG, max_attempts=1)).delivered(60)


@in_virtual_time
async def test_who_waits_for_an_upload_that_fails_uploads_himself(store: Store, tmp_path: Path) -> None:
    async with playing(store, latency=0.1, files=tmp_path / "spool") as (kurir, s):
        s.world.faults.add(Rule(Kind.STATUS_JSON, chat=1, times=1, status=400, description="Bad Request: topic_closed"))
        receipts = await kurir.submit([Message("sendPhoto", {"chat_id": c, "photo": JPEG}) for c in range(1, 6)])
        records = await asyncio.gather(*(r.ended(60) for r in receipts))
        assert [r.state for r in records] == [State.DEAD] + [State.DELIVERED] * 4
        assert uploads(s) == 2


@in_virtual_time
async def test_an_album_sent_again_goes_by_file_ids(store: Store, tmp_path: Path) -> None:
    async with playing(store, files=tmp_path / "spool") as (kurir, s):
        media = [{"type": "photo", "media": JPEG + bytes([n])} for n in range(3)]
        for chat in (5, 6):
            await (await kurir.send_media_group(chat, media)).delivered(10)
        assert uploads(s) == 3
        (_, first), (_, second) = s.wire.sends()
        assert len(first.parts) == 3
        assert all(not item["media"].startswith("attach://") for item in params(second)["media"])


@in_virtual_time
async def test_a_thumbnail_is_uploaded_each_time(tmp_path: Path) -> None:
    async with playing(files=tmp_path / "spool") as (kurir, s):
        for chat in (5, 6):
            await (await kurir.send_video(chat, b"video", thumbnail=JPEG)).delivered(10)
        assert [sorted(p.field for p in call.parts) for _, call in s.wire.sends()] == [
            ["thumbnail", "video"],
            ["thumbnail"],
        ]


@in_virtual_time
async def test_a_retried_upload_uploads_again(store: Store, tmp_path: Path) -> None:
    async with playing(store, files=tmp_path / "spool") as (kurir, s):
        s.world.faults.add(Rule(Kind.RESET_BEFORE, method="sendPhoto", times=1))
        await (await kurir.send_photo(5, JPEG)).delivered(60)
        assert uploads(s) == 2


@in_virtual_time
async def test_what_is_refused_for_its_key_leaves_the_first_message_its_file(store: Store, tmp_path: Path) -> None:
    async with playing(store, files=tmp_path / "spool") as (kurir, s):
        later = s.clock.now() + 60
        first = await kurir.send_photo(5, JPEG, idempotency_key="k", due_at=later)
        with pytest.raises(KeyConflict):
            await kurir.send_photo(5, b"other", idempotency_key="k")
        assert (await kurir.send_photo(5, InputFile(JPEG, "b.jpg"), idempotency_key="k")).duplicate
        await first.delivered(100)


@in_virtual_time
async def test_files_nobody_needs_any_more_are_collected(store: Store, tmp_path: Path) -> None:
    async with playing(store, files=tmp_path / "spool", history=100.0) as (kurir, s):
        await (await kurir.send_photo(5, JPEG)).delivered(10)
        assert blobs(tmp_path)
        for blob in blobs(tmp_path):
            blob.touch()
            os.utime(blob, (0, 0))
        await s.sleep(1300)
        assert (await kurir.find()).items == ()
        assert blobs(tmp_path) == []


@in_virtual_time
async def test_files_of_a_refused_batch_are_collected(tmp_path: Path) -> None:
    async with playing(files=tmp_path / "spool", history=100.0) as (kurir, s):
        await kurir.send_text(5, "x", idempotency_key="k")
        with pytest.raises(KeyConflict):
            await kurir.send_photo(5, JPEG, idempotency_key="k")
        for blob in blobs(tmp_path):
            os.utime(blob, (0, 0))
        await s.sleep(1300)
        assert blobs(tmp_path) == []


@in_virtual_time
async def test_what_crashed_writers_left_is_swept_away(tmp_path: Path) -> None:
    async with playing(files=tmp_path / "spool") as (kurir, s):
        await (await kurir.send_photo(5, JPEG)).delivered(10)
        left = tmp_path / "spool" / "new-crashed"
        left.write_bytes(b"half")
        os.utime(left, (0, 0))
        await s.sleep(1300)
        assert not left.exists()


def blobs(folder: Path) -> list[Path]:
    return [f for f in (folder / "spool").rglob("*") if f.is_file() and f.name != ".lock"]


@in_virtual_time
async def test_a_slow_upload_delays_nobody_else_and_lets_nothing_over_the_limits(store: Store, tmp_path: Path) -> None:
    async with playing(store, latency=0.05, files=tmp_path / "spool", pace="on") as (kurir, s):
        s.world.faults.add(Rule(Kind.SLOW, seconds=7, method="sendDocument", times=1))
        broadcast = [Message("sendDocument", {"chat_id": chat, "document": b"news"}) for chat in range(1, 201)]
        receipts = await kurir.submit(broadcast)
        await s.sleep(1)
        started = s.clock.now()
        urgent = await kurir.send_text(999, "urgent", priority="critical")
        await urgent.delivered(60)
        assert s.clock.now() - started < 0.5
        await asyncio.gather(*(r.delivered(60) for r in receipts))
        assert uploads(s) == 1
        assert s.world.journal.peak(1.0) <= 30


@in_virtual_time
async def test_an_upload_that_is_throttled_is_not_followed_by_the_others_at_once(store: Store, tmp_path: Path) -> None:
    async with playing(store, latency=0.05, files=tmp_path / "spool", pace="on") as (kurir, s):
        s.world.faults.add(Rule(Kind.STATUS_JSON, status=429, retry_after=30, method="sendDocument", times=3))
        receipts = await kurir.submit(
            [Message("sendDocument", {"chat_id": chat, "document": b"news"}) for chat in range(1, 101)]
        )
        await s.sleep(25)
        assert len(s.wire.sends()) == 3  # three chats refused: the whole bot waits
        await asyncio.gather(*(r.delivered(120) for r in receipts))
        assert uploads(s) == 4
