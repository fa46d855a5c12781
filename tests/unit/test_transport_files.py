"""Promises of uploads: multipart, streamed from disk, bounded in time and memory."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path

import orjson
import pytest
from test_transport import OK, TOKEN, Reader, Telegram, Writer, ask, reset, response, serving, transport

from kurir.core.errors import InvalidMessage
from kurir.core.outcome import Break, NoReply, Reply
from kurir.ports import Call, Part
from kurir.telegram.files import InputFile, detach

MB = 1024 * 1024


def part(folder: Path, content: bytes, field: str = "photo", name: str = "a.jpg", mime: str = "image/jpeg") -> Part:
    path = folder / field
    path.write_bytes(content)
    return Part(field, path, name, mime, len(content))


def upload(*parts: Part, **params: object) -> Call:
    return Call(TOKEN, "sendPhoto", orjson.dumps(params), parts)


def form(head: bytes, body: bytes) -> dict[str, tuple[str | None, str, bytes]]:
    """A multipart body by an independent parser: name -> (file name, type, content)."""
    header = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-type:"))
    message = BytesParser(policy=HTTP).parsebytes(header + b"\r\n\r\n" + body)
    found = {}
    for item in message.iter_parts():
        name = item.get_param("name", header="content-disposition")
        found[str(name)] = (item.get_filename(), item.get_content_type(), item.get_payload(decode=True))
    return found


async def test_a_file_goes_as_multipart_under_its_field(tmp_path: Path) -> None:
    telegram = Telegram()
    file = part(tmp_path, b"\xff\xd8" + bytes(range(256)), name="кот.jpg")
    await ask(telegram, upload(file, chat_id=-5, caption="Hi ф", photo="attach://photo", reply_markup={"a": [1]}))
    found = form(*telegram.requests[0])
    assert found["photo"] == ("кот.jpg", "image/jpeg", b"\xff\xd8" + bytes(range(256)))
    texts = {name: content for name, (_, _, content) in found.items() if name != "photo"}
    assert texts == {"chat_id": b"-5", "caption": "Hi ф".encode(), "reply_markup": b'{"a":[1]}'}


async def test_the_files_of_an_album_go_under_the_names_it_refers_to(tmp_path: Path) -> None:
    telegram = Telegram()
    media = [{"type": "photo", "media": "attach://a"}, {"type": "photo", "media": "attach://b"}]
    await ask(telegram, upload(part(tmp_path, b"1", "a"), part(tmp_path, b"22", "b"), chat_id=1, media=media))
    found = form(*telegram.requests[0])
    assert (found["a"][2], found["b"][2]) == (b"1", b"22")
    assert orjson.loads(found["media"][2]) == media


async def test_a_null_parameter_is_left_out_and_a_flag_is_lower_case(tmp_path: Path) -> None:
    telegram = Telegram()
    await ask(telegram, upload(part(tmp_path, b"1"), chat_id=1, caption=None, protect_content=True))
    found = form(*telegram.requests[0])
    assert "caption" not in found
    assert found["protect_content"][2] == b"true"


async def test_a_file_name_cannot_smuggle_headers(tmp_path: Path) -> None:
    telegram = Telegram()
    await ask(telegram, upload(part(tmp_path, b"1", name='a"\r\nEvil: 1\r\n.jpg', mime="a\r\nEvil: 2"), chat_id=1))
    assert b"\r\nEvil" not in telegram.requests[0][1]


async def test_an_upload_leaves_the_connection_to_the_next_call(tmp_path: Path) -> None:
    telegram = Telegram()
    async with serving(telegram) as port, transport(port) as client:
        for _ in range(3):
            assert isinstance(await client.call(upload(part(tmp_path, b"1"), chat_id=1)), Reply)
    assert telegram.connections == 1


async def test_a_large_file_is_streamed_in_constant_memory(tmp_path: Path) -> None:
    received = 0

    async def swallow(reader: Reader, writer: Writer) -> None:
        nonlocal received
        head = await reader.readuntil(b"\r\n\r\n")
        left = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while left:
            left -= (got := len(await reader.read(MB)))
            received += got
        writer.write(response(OK))

    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(64 * MB)
    tracemalloc.start()
    try:
        answer = await ask(swallow, upload(Part("document", path, "large", "x/y", 64 * MB), chat_id=1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(answer, Reply)
    assert received > 64 * MB
    assert peak < 8 * MB


async def test_a_missing_file_refuses_the_message_before_anything_leaves(tmp_path: Path) -> None:
    telegram = Telegram()
    answer = await ask(telegram, upload(Part("photo", tmp_path / "none", "a", "b/c", 5), chat_id=1))
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.FILE, False)
    assert "photo" in answer.detail
    assert telegram.requests == []


async def test_a_file_of_another_size_refuses_the_message_before_anything_leaves(tmp_path: Path) -> None:
    file = part(tmp_path, b"12345")
    file.path.write_bytes(b"123")
    answer = await ask(Telegram(), upload(file, chat_id=1))
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.FILE, False)


async def test_an_upload_that_stalls_ends_in_time(tmp_path: Path) -> None:
    async def stall(reader: Reader, writer: Writer) -> None:
        await reader.read(10)
        await asyncio.sleep(60)

    started = time.monotonic()
    answer = await ask(stall, upload(part(tmp_path, bytes(16 * MB)), chat_id=1), read_timeout=0.3)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.TIMEOUT, True)
    assert time.monotonic() - started < 3


async def test_a_slow_upload_that_moves_on_is_not_cut(tmp_path: Path) -> None:
    async def slow(reader: Reader, writer: Writer) -> None:
        for _ in range(10):
            await asyncio.sleep(0.06)
            await reader.read(MB)
        await request_rest(reader)
        writer.write(response(OK))

    async def request_rest(reader: Reader) -> None:
        while b"--\r\n" not in await reader.read(MB):
            pass

    started = time.monotonic()
    answer = await ask(slow, upload(part(tmp_path, bytes(12 * MB)), chat_id=1), read_timeout=0.5)
    assert isinstance(answer, Reply)
    assert time.monotonic() - started > 0.5


@pytest.mark.parametrize("then_reset", [False, True])
async def test_an_answer_before_the_upload_ended_is_heard(tmp_path: Path, then_reset: bool) -> None:
    async def too_large(reader: Reader, writer: Writer) -> None:
        await reader.read(10)
        writer.write(response(b"<html>", "413 Request Entity Too Large"))
        await asyncio.sleep(0.1)
        if then_reset:
            reset(writer)
        await asyncio.sleep(60)

    answer = await ask(too_large, upload(part(tmp_path, bytes(16 * MB)), chat_id=1), read_timeout=2)
    assert isinstance(answer, Reply)
    assert answer.status == 413


async def test_a_connection_with_half_an_upload_is_not_used_again(tmp_path: Path) -> None:
    connections = 0

    async def too_large(reader: Reader, writer: Writer) -> None:
        nonlocal connections
        connections += 1
        await reader.read(10)
        writer.write(response(OK, "413 Request Entity Too Large"))
        await asyncio.sleep(1)

    async with serving(too_large) as port, transport(port) as client:
        for _ in range(2):
            await client.call(upload(part(tmp_path, bytes(16 * MB)), chat_id=1))
    assert connections == 2


async def test_an_upload_that_breaks_is_a_doubt(tmp_path: Path) -> None:
    async def rude(reader: Reader, writer: Writer) -> None:
        await reader.read(10)
        reset(writer)

    answer = await ask(rude, upload(part(tmp_path, bytes(16 * MB)), chat_id=1))
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.RESET, True)


async def test_a_local_server_is_told_the_path_instead(tmp_path: Path) -> None:
    telegram = Telegram()
    media = [{"type": "document", "media": "attach://a"}, {"type": "document", "media": "attach://b"}]
    files = part(tmp_path, b"1", "a"), part(tmp_path, b"2", "b")
    await ask(telegram, upload(*files, chat_id=1, media=media, caption="attach://c"), local=True)
    head, body = telegram.requests[0]
    assert b"application/json" in head
    assert orjson.loads(body) == {
        "chat_id": 1,
        "media": [{"type": "document", "media": file.path.as_uri()} for file in files],
        "caption": "attach://c",
    }


async def test_a_request_is_whole_when_it_is_larger_than_the_buffers() -> None:
    telegram = Telegram()
    text = "x" * (4 * MB)
    answer = await ask(telegram, Call(TOKEN, "sendMessage", orjson.dumps({"text": text})))
    assert isinstance(answer, Reply)
    assert orjson.loads(telegram.requests[0][1]) == {"text": text}


async def test_a_request_nobody_reads_ends_in_time() -> None:
    async def deaf(reader: Reader, writer: Writer) -> None:
        await reader.read(1)
        await asyncio.sleep(60)

    call = Call(TOKEN, "sendMessage", orjson.dumps({"text": "x" * (16 * MB)}))
    answer = await ask(deaf, call, read_timeout=0.3)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.TIMEOUT, True)


def test_values_nested_without_end_are_refused_not_followed() -> None:
    media = "[" * 900 + '"attach://a"' + "]" * 900
    with pytest.raises(InvalidMessage, match="nested too deeply"):
        detach("sendMediaGroup", {"chat_id": 1, "media": media}, {"a": InputFile(b"x")})
