"""Promises of `telegram.transport`, against real sockets: tiny servers that answer, hang, reset and lie."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir.core.errors import InvalidSetting, KurirError
from kurir.core.outcome import Answer, Break, NoReply, Reply
from kurir.ports import Call
from kurir.telegram.redact import redact
from kurir.telegram.transport import LONGEST_ANSWER, HttpTransport, _Trip, _write

TOKEN = "123456789:AAE-abcdefghijklmnopqrstuvwxyz01234"
CALL = Call(TOKEN, "sendMessage", b'{"chat_id":1,"text":"hi"}')
OK = b'{"ok":true,"result":{"message_id":7}}'

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Handler = Callable[[Reader, Writer], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A server on a free port; whatever its handlers do ends with it."""
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def transport(port: int, **options: Any) -> AsyncIterator[HttpTransport]:
    client = HttpTransport(options.pop("base_url", f"http://127.0.0.1:{port}"), **options)
    try:
        yield client
    finally:
        await client.close()


async def request(reader: Reader) -> tuple[bytes, bytes]:
    """One HTTP request: its head and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    )
    return head, await reader.readexactly(length)


def response(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


class Telegram:
    """Answers every request with `answer`, on connections it keeps alive, and remembers what it was asked."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = response(OK) if answer is None else answer
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self.most = 0
        self.open = 0

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            while True:
                self.requests.append(await request(reader))
                writer.write(self.answer)
                await writer.drain()
        finally:
            self.open -= 1


async def ask(handler: Handler, call: Call = CALL, **options: Any) -> Answer:
    """One call to a server that does `handler`."""
    async with serving(handler) as port, transport(port, **options) as client:
        return await client.call(call)


def reset(writer: Writer) -> None:
    """Close with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hang(reader: Reader, writer: Writer) -> None:
    await request(reader)
    await asyncio.sleep(60)


# ---------------------------------------------------------------- answers


async def test_the_answer_of_telegram_is_parsed() -> None:
    assert await ask(Telegram()) == Reply(200, {"ok": True, "result": {"message_id": 7}})


async def test_parameters_go_out_as_they_are() -> None:
    telegram = Telegram()
    await ask(telegram, Call(TOKEN, "sendMessage", b'{ "text":"\xd1\x84" }'))
    head, body = telegram.requests[0]
    assert head.startswith(f"POST /bot{TOKEN}/sendMessage HTTP/1.1\r\n".encode())
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert body == b'{ "text":"\xd1\x84" }'


async def test_a_base_url_may_have_a_path() -> None:
    telegram = Telegram()
    async with serving(telegram) as port, transport(port, base_url=f"http://127.0.0.1:{port}/tg/") as client:
        await client.call(CALL)
    assert telegram.requests[0][0].startswith(f"POST /tg/bot{TOKEN}/sendMessage HTTP/1.1\r\n".encode())


async def test_a_method_cannot_smuggle_headers() -> None:
    telegram = Telegram()
    await ask(telegram, Call(TOKEN, "x HTTP/1.1\r\nEvil: 1\r\n\r\n", b"{}"))
    assert b"\r\nEvil" not in telegram.requests[0][0]


async def test_a_connection_serves_many_calls() -> None:
    telegram = Telegram()
    async with serving(telegram) as port, transport(port) as client:
        for _ in range(5):
            assert isinstance(await client.call(CALL), Reply)
    assert telegram.connections == 1


async def test_no_more_connections_than_the_pool_allows() -> None:
    telegram = Telegram()
    async with serving(telegram) as port, transport(port, pool=5) as client:
        answers = await asyncio.gather(*(client.call(CALL) for _ in range(60)))
    assert all(isinstance(answer, Reply) for answer in answers)
    assert telegram.most == 5


async def test_an_html_answer_has_an_excerpt_and_no_token() -> None:
    body = f"<html>bad gateway /bot{TOKEN}/sendMessage {'x' * 500}</html>".encode()
    answer = await ask(Telegram(response(body, "502 Bad Gateway")))
    assert isinstance(answer, Reply)
    assert (answer.status, answer.payload) == (502, None)
    assert answer.excerpt.startswith("<html>bad gateway /bot<token>/sendMessage xxx")
    assert len(answer.excerpt) == 200


@pytest.mark.parametrize("body", [b"", b"[1]", b'"text"', b"{", b"\xff\xfe"])
async def test_a_body_that_is_no_json_object_has_no_payload(body: bytes) -> None:
    answer = await ask(Telegram(response(body)))
    assert isinstance(answer, Reply)
    assert answer.payload is None


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), ("-1", None), ("9" * 400, None)])
async def test_the_retry_after_header_is_read(header: str, seconds: float | None) -> None:
    answer = await ask(Telegram(response(b"", "429 Too Many Requests", f"Retry-After: {header}\r\n")))
    assert isinstance(answer, Reply)
    assert answer.retry_after == seconds


async def test_an_answer_may_come_in_pieces() -> None:
    async def trickle(reader: Reader, writer: Writer) -> None:
        await request(reader)
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(OK), OK):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)

    answer = await ask(trickle)
    assert isinstance(answer, Reply)
    assert answer.payload == {"ok": True, "result": {"message_id": 7}}


async def test_an_interim_answer_is_passed_over() -> None:
    assert await ask(Telegram(b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(OK))) == Reply(200, orjson.loads(OK))


async def test_an_answer_without_end_is_read_to_a_limit() -> None:
    sent = 0

    async def endless(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    answer = await ask(endless)
    assert isinstance(answer, Reply)
    assert answer.payload is None
    assert sent < 4 * LONGEST_ANSWER


async def test_what_a_server_says_unasked_is_not_the_next_answer() -> None:
    async def chatty(reader: Reader, writer: Writer) -> None:
        await request(reader)
        writer.write(response(OK))
        await asyncio.sleep(0.02)
        writer.write(response(b"{}", "408 Request Timeout"))
        await request(reader)
        writer.write(response(OK))

    async with serving(chatty) as port, transport(port) as client:
        await client.call(CALL)
        await asyncio.sleep(0.06)
        answer = await client.call(CALL)
    assert isinstance(answer, Reply)
    assert answer.status == 200


# ---------------------------------------------------------------- nothing left


async def closed_port() -> int:
    async with serving(hang) as port:
        return port


async def test_a_refused_connection_is_no_doubt() -> None:
    async with transport(await closed_port()) as client:
        answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.REFUSED, False)


async def test_a_host_refused_on_all_its_addresses_is_refused() -> None:
    port = await closed_port()
    async with transport(port, base_url=f"http://localhost:{port}") as client:
        answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.REFUSED, False)


async def test_a_name_that_does_not_resolve_is_no_doubt() -> None:
    async with transport(0, base_url="http://kurir.invalid") as client:
        answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.DNS, False)


async def test_an_unreachable_network_is_no_doubt() -> None:
    async with transport(0, base_url="http://255.255.255.255:9") as client:
        answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert answer.kind in (Break.UNREACHABLE, Break.RESET)
    assert not answer.sent


async def test_a_connect_that_takes_too_long_is_no_doubt() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        async with transport(full.getsockname()[1], connect_timeout=0.3) as client:
            started = time.monotonic()
            answer = await client.call(CALL)
            took = time.monotonic() - started
        for sock in waiting:
            sock.close()
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.CONNECT_TIMEOUT, False)
    assert took < 2


async def test_a_failed_tls_handshake_is_no_doubt() -> None:
    async def plain(reader: Reader, writer: Writer) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await asyncio.sleep(1)

    async with serving(plain) as port, transport(port, base_url=f"https://127.0.0.1:{port}") as client:
        answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.TLS, False)


async def test_waiting_in_vain_for_a_free_connection_is_no_doubt() -> None:
    async with serving(hang) as port, transport(port, pool=1, connect_timeout=0.2) as client:
        first = asyncio.create_task(client.call(CALL))
        await asyncio.sleep(0.05)
        answer = await client.call(CALL)
        first.cancel()
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.POOL, False)


async def test_a_slot_that_was_waited_for_in_vain_is_not_lost() -> None:
    async with serving(hang) as port, transport(port, pool=1, connect_timeout=0.1) as client:
        first = asyncio.create_task(client.call(CALL))
        await asyncio.sleep(0.05)
        await client.call(CALL)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        answer = await client.call(Call(TOKEN, "getMe", b"{}", timeout=0.1))
    assert isinstance(answer, NoReply)
    assert answer.kind is Break.TIMEOUT


async def test_a_connection_that_had_closed_before_the_first_byte_is_no_doubt() -> None:
    async with serving(hang) as port, transport(port) as client:
        connection = await client._upstream.connect()
        assert connection.protocol is not None
        assert connection.transport is not None
        connection.transport.close()
        trip = _Trip()
        with pytest.raises(OSError):
            await _write(connection.protocol, b"x", trip)
        connection.close()
    assert not trip.sent


# ---------------------------------------------------------------- something left


async def test_a_reset_before_the_request_is_read_is_a_doubt() -> None:
    async def rude(reader: Reader, writer: Writer) -> None:
        await asyncio.sleep(0.02)
        reset(writer)

    answer = await ask(rude)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.RESET, True)


async def test_a_reset_after_the_request_is_read_is_a_doubt() -> None:
    async def rude(reader: Reader, writer: Writer) -> None:
        await request(reader)
        reset(writer)

    answer = await ask(rude)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.RESET, True)


async def test_a_clean_close_without_an_answer_is_a_doubt() -> None:
    async def mute(reader: Reader, writer: Writer) -> None:
        await request(reader)

    answer = await ask(mute)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.RESET, True)


async def test_an_answer_cut_short_is_a_doubt() -> None:
    async def cut(reader: Reader, writer: Writer) -> None:
        await request(reader)
        writer.write(response(OK)[:-5])

    answer = await ask(cut)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.RESET, True)


async def test_an_answer_that_is_not_http_is_a_doubt() -> None:
    answer = await ask(Telegram(b"I am not a web server\r\n\r\n"))
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.RESET, True)


async def test_no_answer_in_time_is_a_doubt() -> None:
    answer = await ask(hang, read_timeout=0.2)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.TIMEOUT, True)


async def test_a_call_may_have_a_timeout_of_its_own() -> None:
    started = time.monotonic()
    answer = await ask(hang, Call(TOKEN, "getMe", b"{}", timeout=0.1))
    assert isinstance(answer, NoReply)
    assert time.monotonic() - started < 1


async def test_an_answer_that_trickles_for_ever_ends_in_time() -> None:
    async def drip(reader: Reader, writer: Writer) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    started = time.monotonic()
    answer = await ask(drip, read_timeout=0.3)
    assert isinstance(answer, NoReply)
    assert answer.kind is Break.TIMEOUT
    assert time.monotonic() - started < 2


async def test_a_kept_connection_that_dies_at_once_is_a_doubt() -> None:
    async def once(reader: Reader, writer: Writer) -> None:
        await request(reader)
        writer.write(response(OK))
        await request(reader)
        reset(writer)

    async with serving(once) as port, transport(port) as client:
        await client.call(CALL)
        answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.RESET, True)


async def test_a_kept_connection_the_server_closed_is_replaced() -> None:
    async def once(reader: Reader, writer: Writer) -> None:
        await request(reader)
        writer.write(response(OK))

    async with serving(once) as port, transport(port) as client:
        await client.call(CALL)
        await asyncio.sleep(0.05)
        assert isinstance(await client.call(CALL), Reply)


async def test_after_a_doubt_the_connection_is_not_used_again() -> None:
    telegram = Telegram()

    async def late(reader: Reader, writer: Writer) -> None:
        if not telegram.connections:
            telegram.connections += 1
            await request(reader)
            await asyncio.sleep(0.2)
            writer.write(response(b'{"ok":true,"result":"late"}'))
            await asyncio.sleep(1)
        await telegram(reader, writer)

    async with serving(late) as port, transport(port) as client:
        await client.call(Call(TOKEN, "sendMessage", b"{}", timeout=0.1))
        answer = await client.call(CALL)
    assert answer == Reply(200, orjson.loads(OK))


async def test_a_cancelled_call_is_cancelled_and_its_slot_is_free() -> None:
    async with serving(hang) as port, transport(port, pool=1, connect_timeout=0.2) as client:
        first = asyncio.create_task(client.call(CALL))
        await asyncio.sleep(0.05)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        answer = await client.call(Call(TOKEN, "getMe", b"{}", timeout=0.1))
    assert isinstance(answer, NoReply)
    assert answer.kind is Break.TIMEOUT


# ---------------------------------------------------------------- downloads


async def download(answer: bytes, dest: Path) -> int:
    async def files(reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(f"GET /file/bot{TOKEN}/photos/file%201.jpg HTTP/1.1".encode())
        writer.write(answer)

    async with serving(files) as port, transport(port) as client:
        return await client.download(TOKEN, "photos/file 1.jpg", dest)


async def test_a_download_is_streamed_to_its_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    assert await download(response(content), tmp_path / "a") == len(content)
    assert (tmp_path / "a").read_bytes() == content


async def test_a_download_cut_short_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KurirError, match=r"download of photos/file 1\.jpg failed"):
        await download(response(b"x" * 1000)[:-10], tmp_path / "a")
    assert os.listdir(tmp_path) == []


async def test_a_refused_download_says_why(tmp_path: Path) -> None:
    body = b'{"ok":false,"error_code":404,"description":"Not Found"}'
    with pytest.raises(KurirError, match="refused with 404: Not Found"):
        await download(response(body, "404 Not Found"), tmp_path / "a")


async def test_a_local_server_s_file_is_copied_from_disk(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"abc")
    async with transport(1, local=True) as client:
        assert await client.download(TOKEN, str(tmp_path / "theirs"), tmp_path / "ours") == 3
    assert (tmp_path / "ours").read_bytes() == b"abc"


# ---------------------------------------------------------------- secrets and settings


async def test_a_token_is_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    async def echo(reader: Reader, writer: Writer) -> None:
        head, _ = await request(reader)
        writer.write(b"HTTP/1.1 200 " + head.split(b"\r\n")[0] + b"\r\n\r\n" + head)

    async def garbage(reader: Reader, writer: Writer) -> None:
        head, _ = await request(reader)
        writer.write(head)

    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    try:
        answers = [await ask(server, read_timeout=0.2) for server in (echo, garbage, hang)]
        async with transport(await closed_port()) as client:
            answers.append(await client.call(CALL))
            said = repr(client)
            with pytest.raises(KurirError) as caught:
                await client.download(TOKEN, "x", tmp_path / "x")
    finally:
        asyncio.get_running_loop().set_debug(False)
    assert len(answers) == 4
    assert TOKEN.split(":")[1] not in f"{answers!r} {said} {caplog.text} {caught.getrepr(style='long')}"


@pytest.mark.parametrize("url", ["", "api.telegram.org", "ftp://user:secret@host", "http://", "http://[::1"])
def test_a_base_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        HttpTransport(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["ftp://user:secret@host", "user:secret@host:1", "socks9://host"])
def test_a_proxy_that_is_none_is_refused_without_repeating_it(proxy: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        HttpTransport(proxy=proxy)
    assert "secret" not in str(caught.value)


def test_a_transport_can_be_made_outside_a_loop() -> None:
    HttpTransport(proxy="socks5h://user:pass@127.0.0.1:1080")


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_token_is_taken_out_of_any_text(before: str, after: str) -> None:
    assert TOKEN.split(":")[1] not in redact(f"{before} {TOKEN} {after}")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"https://api.telegram.org/bot{TOKEN}/getMe", "https://api.telegram.org/bot<token>/getMe"),
        ("GET /botodd-token/getMe", "GET /bot<token>/getMe"),
        (f"/file/bot{TOKEN.replace(':', '%3A')}/x", "/file/bot<token>/x"),
        ("socks5://me:pass@host:1", "socks5://<user>@host:1"),
        ("at 10:30 the robot/arm moved 12345:67", "at 10:30 the robot/arm moved 12345:67"),
    ],
)
def test_only_secrets_are_taken_out(text: str, clean: str) -> None:
    assert redact(text) == clean
