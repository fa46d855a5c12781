"""Files: with a message, or once and then named in many."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from kurir.simulator.harness import Telegram
from kurir.telegram.spool import Spool

from .door import Door, is_problem, opened, text_to

CAT = b"\xff\xd8\xff\xe0 a picture of a cat"
DOG = b"\xff\xd8\xff\xe0 a picture of a dog"


def form(message: Any = None, **files: bytes) -> aiohttp.FormData:
    data = aiohttp.FormData()
    if message is not None:
        data.add_field("message", orjson.dumps(message).decode(), content_type="application/json")
    for name, content in files.items():
        data.add_field(name, content, filename=f"{name}.jpg", content_type="image/jpeg")
    return data


def photo(reference: str, chat: int = 42) -> dict[str, Any]:
    return {"method": "sendPhoto", "params": {"chat_id": chat, "photo": reference, "caption": "Look"}}


async def upload(door: Door, content: bytes = CAT, name: str = "cat") -> Any:
    got = await door.ask("POST", "/v1/files", data=form(**{name: content}))
    assert got.status == 201, got.body
    return got.json


async def at_telegram(door: Door, file_id: str) -> bytes:
    """The bytes that Telegram has."""
    telegram = door.telegram
    url = f"{telegram.url}/bot{telegram.token}/getFile"
    async with door.session.get(url, params={"file_id": file_id}) as response:
        path = (await response.json())["result"]["file_path"]
    async with door.session.get(f"{telegram.url}/file/bot{telegram.token}/{path}") as response:
        assert response.status == 200
        return await response.read()


def file_id(record: Any) -> str:
    """Of the photo in its full size."""
    return str(record["result"]["photo"][-1]["file_id"])


async def test_a_photo_in_a_part_of_its_own_arrives(door: Door) -> None:
    got = await door.ask("POST", "/v1/messages", data=form(photo("attach://cat"), cat=CAT))
    assert got.status == 202, got.body
    record = await door.ended(got.json["id"])
    assert record["state"] == "delivered"
    assert [(f["name"], f["mime"], f["size"]) for f in record["files"]] == [("cat.jpg", "image/jpeg", len(CAT))]
    assert record["files"][0]["sha256"] == hashlib.sha256(CAT).hexdigest()
    assert await at_telegram(door, file_id(record)) == CAT


async def test_an_album_and_a_list_may_share_parts(door: Door) -> None:
    media = [{"type": "photo", "media": f"attach://{name}"} for name in ("cat", "dog")]
    album = {"method": "sendMediaGroup", "params": {"chat_id": 42, "media": media}}
    as_text = {"method": "sendMediaGroup", "params": {"chat_id": 43, "media": orjson.dumps(media).decode()}}
    batch = [album, as_text, photo("attach://cat", 44), text_to()]
    got = await door.ask("POST", "/v1/messages", data=form(batch, cat=CAT, dog=DOG))
    assert got.status == 202, got.body
    for one in got.json:
        assert (await door.ended(one["id"]))["state"] == "delivered"
    assert len(door.telegram.sent(42)) == 3  # the album, and the text
    assert len(door.telegram.sent(43)) == 2


async def test_the_message_may_be_a_file_of_the_form(door: Door) -> None:
    data = form(cat=CAT)
    data.add_field("message", orjson.dumps(photo("attach://cat")), filename="message.json")
    got = await door.ask("POST", "/v1/messages", data=data)
    assert got.status == 202, got.body


@pytest.mark.parametrize(
    ("data", "status", "kind", "field"),
    [
        (form(photo("attach://dog"), cat=CAT), 422, "invalid-field", "cat"),
        (form(photo("attach://dog")), 422, "invalid-field", "params.photo"),
        (form([text_to(), photo("attach://dog")]), 422, "invalid-field", "messages[1].params.photo"),
        (form(text_to(), cat=CAT), 422, "invalid-field", "cat"),
        (form(photo("attach://cat"), cat=b""), 422, "invalid-field", "cat"),
        (form(cat=CAT), 415, "unsupported-media", None),
        (form("x", cat=CAT), 422, "invalid-field", "body"),
    ],
)
async def test_parts_and_references_must_fit(
    still: Door, data: aiohttp.FormData, status: int, kind: str, field: str | None
) -> None:
    is_problem(await still.ask("POST", "/v1/messages", data=data), status, kind, field)
    assert (await still.get("/v1/messages")).json["items"] == []


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b"", "multipart/form-data"),
        (b"nonsense", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\nhello\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (
            b"--x\r\nContent-Disposition: form-data; name=message\r\n\r\n{\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
        ),
    ],
)
async def test_what_is_no_multipart_is_malformed(still: Door, body: bytes, header: str) -> None:
    got = await still.ask("POST", "/v1/messages", data=body, headers={"Content-Type": header})
    assert got.status in (400, 415), got.body
    assert got.headers["Content-Type"] == "application/problem+json"


async def test_a_file_uploaded_once_goes_to_telegram_once(door: Door) -> None:
    file = await upload(door)
    assert file["id"] == hashlib.sha256(CAT).hexdigest()
    assert file == {
        "id": file["id"],
        "file": f"kurir-file:{file['id']}/cat.jpg",
        "name": "cat.jpg",
        "mime": "image/jpeg",
        "size": len(CAT),
    }
    first = await door.ended((await door.post("/v1/messages", photo(file["file"]))).json["id"])
    got = await door.post("/v1/messages", [photo(file["file"], chat) for chat in range(50, 60)])
    assert got.status == 202, got.body
    records = [await door.ended(one["id"]) for one in got.json]
    assert {record["state"] for record in records} == {"delivered"}
    assert {file_id(record) for record in records} == {file_id(first)}  # an upload would have got one of its own
    assert await at_telegram(door, file_id(first)) == CAT
    blobs = [path for path in Path.cwd().glob("kurir.db.files/??/*") if path.is_file()]
    assert len(blobs) == 1
    assert len(door.telegram.calls("sendPhoto")) == 11


async def test_a_reference_may_be_escaped_and_go_without_a_name(door: Door) -> None:
    file = await upload(door)
    raw = orjson.dumps(photo(f"kurir-file:{file['id']}")).replace(b"/", b"\\/")
    got = await door.ask("POST", "/v1/messages", data=raw, headers={"Content-Type": "application/json"})
    assert got.status == 202, got.body
    assert (await door.ended(got.json["id"]))["state"] == "delivered"


async def test_a_reference_that_leads_nowhere_is_refused(still: Door) -> None:
    for reference in ("kurir-file:" + "0" * 64, "kurir-file:../../etc/passwd", "kurir-file:"):
        is_problem(await still.post("/v1/messages", photo(reference)), 422, "invalid-field", "params.photo")


async def test_words_that_look_like_a_reference_stay_words(door: Door) -> None:
    for text in ("attach://cat", "kurir-file:" + "0" * 64, '["attach://cat"]'):
        record = await door.ended(await door.send(text))
        assert record["result"]["text"] == text


async def test_an_upload_no_message_needs_is_collected_after_its_grace(
    still: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    lonely, needed = await upload(still, CAT), await upload(still, DOG, "dog")
    assert (await still.post("/v1/messages", photo(needed["file"]))).status == 202
    await still.kurir.prune(10**6)
    assert await still.kurir.spool.exists(lonely["id"])  # type: ignore[union-attr]
    ancient = 1_000_000_000
    for file in (lonely, needed):
        path = still.kurir.spool.path(file["id"])  # type: ignore[union-attr]
        os.utime(path, (ancient, ancient))
    await still.kurir.prune(10**6)
    assert not await still.kurir.spool.exists(lonely["id"])  # type: ignore[union-attr]
    assert await still.kurir.spool.exists(needed["id"])  # type: ignore[union-attr]
    is_problem(await still.post("/v1/messages", photo(lonely["file"])), 422, "invalid-field", "params.photo")


async def test_a_file_that_is_used_again_is_not_copied_and_lives_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    blob = await spool.add(CAT, name="cat", max_bytes=1000)
    path = spool.path(blob.sha256)
    os.utime(path, (1e9, 1e9))
    node = path.stat().st_ino
    assert await spool.add(path, name="cat", max_bytes=1000) == blob
    assert path.stat().st_ino == node
    assert await spool.remove([blob.sha256]) == 0


@pytest.mark.parametrize(
    ("data", "status", "kind", "field"),
    [
        (form(a=CAT, b=DOG), 422, "invalid-field", "file"),
        (form("x", a=CAT), 422, "invalid-field", "file"),
        (form(a=b""), 422, "invalid-field", "a"),
    ],
)
async def test_a_wrong_upload_is_refused(
    still: Door, data: aiohttp.FormData, status: int, kind: str, field: str | None
) -> None:
    is_problem(await still.ask("POST", "/v1/files", data=data), status, kind, field)


async def test_an_upload_is_multipart(still: Door) -> None:
    is_problem(await still.post("/v1/files", {"a": 1}), 415, "unsupported-media")


async def test_a_file_that_telegram_would_not_take_is_too_large(
    telegram: Telegram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kurir.web.rest.files.CLOUD_LIMIT", 1000)
    async with opened(telegram, tmp_path, courier=False) as door:
        got = await door.ask("POST", "/v1/files", data=form(cat=b"x" * 1001))
        is_problem(got, 413, "too-large", "body")
        got = await door.ask("POST", "/v1/messages", data=form(photo("attach://cat"), cat=b"x" * 1001))
        is_problem(got, 413, "too-large", "body")
    assert not list(tmp_path.glob("kurir.db.files/??/*"))
