"""Promises of calls through proxies, against a real SOCKS5 and a real HTTP proxy, both tiny."""

from __future__ import annotations

import asyncio
import base64
import socket
import struct
from contextlib import suppress

import pytest
from test_transport import CALL, Reader, Telegram, Writer, closed_port, serving, transport

from kurir.core.outcome import Break, NoReply, Reply


async def pipe(reader: Reader, writer: Writer) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def join(reader: Reader, writer: Writer, host: str, port: int) -> None:
    """Connect a client of the proxy with where it wants to go."""
    far_reader, far_writer = await asyncio.open_connection(host, port)
    try:
        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))
    finally:
        far_writer.close()


class Socks5:
    """A SOCKS5 proxy (RFC 1928) with optional user and password (RFC 1929)."""

    def __init__(self, login: tuple[bytes, bytes] | None = None, reply: int = 0) -> None:
        self.login = login
        self.reply = reply
        self.asked: list[tuple[int, bytes, int]] = []  # address type, address, port

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 2 if self.login else 0
        writer.write(bytes([5, wanted if wanted in methods else 0xFF]))
        if wanted not in methods or (self.login and not await self.let_in(reader, writer)):
            return
        kind = (await reader.readexactly(4))[3]
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        address = await reader.readexactly(size)
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        self.asked.append((kind, address, port))
        writer.write(bytes([5, self.reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        if not self.reply:
            await join(reader, writer, "127.0.0.1", port)

    async def let_in(self, reader: Reader, writer: Writer) -> bool:
        user = await reader.readexactly((await reader.readexactly(2))[1])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        ok = (user, password) == self.login
        writer.write(bytes([1, 0 if ok else 1]))
        await writer.drain()
        return ok


class HttpProxy:
    """An HTTP proxy that wants a login."""

    def __init__(self, connect: bytes = b"HTTP/1.1 502 Bad Gateway\r\n\r\n") -> None:
        self.connect = connect
        self.heads: list[bytes] = []

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if b"Basic " + base64.b64encode(b"me:p@ss") not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif head.startswith(b"CONNECT"):
            writer.write(self.connect)
        else:
            host, _, port = head.split(b"//", 1)[1].split(b"/", 1)[0].partition(b":")
            far_reader, far_writer = await asyncio.open_connection(host.decode(), int(port))
            far_writer.write(head)
            await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))
            far_writer.close()
        await writer.drain()


@pytest.mark.parametrize(
    ("scheme", "asked"), [("socks5", (1, socket.inet_aton("127.0.0.1"))), ("socks5h", (3, b"localhost"))]
)
async def test_a_call_goes_through_socks5_and_names_are_resolved_where_asked(
    scheme: str, asked: tuple[int, bytes]
) -> None:
    proxy, telegram = Socks5(), Telegram()
    async with serving(proxy) as via, serving(telegram) as port:
        options = {"base_url": f"http://localhost:{port}", "proxy": f"{scheme}://127.0.0.1:{via}"}
        async with transport(port, **options) as client:
            answers = [await client.call(CALL) for _ in range(3)]
    assert all(isinstance(answer, Reply) for answer in answers)
    assert [(kind, address) for kind, address, _ in proxy.asked] == [asked]


async def test_socks5_gets_user_and_password() -> None:
    proxy = Socks5((b"me", b"p@ss"))
    async with (
        serving(proxy) as via,
        serving(Telegram()) as port,
        transport(port, proxy=f"socks5h://me:p%40ss@127.0.0.1:{via}") as client,
    ):
        assert isinstance(await client.call(CALL), Reply)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_a_proxy_that_refuses_the_login_is_no_doubt(scheme: str) -> None:
    async with (
        serving(Socks5((b"me", b"right"))) as via,
        transport(1, proxy=f"{scheme}://me:wrong@127.0.0.1:{via}") as client,
    ):
        answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.PROXY, False)
    assert "wrong" not in answer.detail


async def test_a_proxy_that_cannot_reach_telegram_is_no_doubt() -> None:
    async with (
        serving(Socks5(reply=4)) as via,
        transport(1, proxy=f"socks5h://127.0.0.1:{via}") as client,
    ):
        answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.PROXY, False)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "http"])
async def test_a_proxy_that_is_not_there_is_no_doubt(scheme: str) -> None:
    async with transport(1, proxy=f"{scheme}://me:secret@127.0.0.1:{await closed_port()}") as client:
        answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.PROXY, False)
    assert "secret" not in answer.detail


@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_a_proxy_that_hangs_ends_in_time(scheme: str) -> None:
    async def hang(reader: Reader, writer: Writer) -> None:
        await asyncio.sleep(60)

    async with serving(hang) as via:
        base = "https://api.telegram.org"
        options = {"base_url": base, "proxy": f"{scheme}://127.0.0.1:{via}", "connect_timeout": 0.3}
        async with transport(1, **options) as client:
            answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert answer.kind in (Break.PROXY, Break.CONNECT_TIMEOUT)
    assert not answer.sent


async def test_an_http_proxy_is_asked_for_the_whole_address() -> None:
    proxy, telegram = HttpProxy(), Telegram()
    async with (
        serving(proxy) as via,
        serving(telegram) as port,
        transport(port, proxy=f"http://me:p%40ss@127.0.0.1:{via}") as client,
    ):
        answers = [await client.call(CALL) for _ in range(3)]
    assert all(isinstance(answer, Reply) for answer in answers)
    assert len(proxy.heads) == 1
    assert proxy.heads[0].startswith(f"POST http://127.0.0.1:{port}/bot".encode())
    assert len(telegram.requests) == 3


async def test_an_http_proxy_tunnels_to_https_with_its_login() -> None:
    proxy = HttpProxy()
    async with serving(proxy) as via:
        options = {"base_url": "https://api.telegram.org", "proxy": f"http://me:p%40ss@127.0.0.1:{via}"}
        async with transport(1, **options) as client:
            answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.PROXY, False)
    assert answer.detail == "the proxy answered 502 Bad Gateway"
    assert proxy.heads[0].startswith(b"CONNECT api.telegram.org:443 HTTP/1.1\r\n")


async def test_a_tunnel_that_closes_at_once_is_no_doubt() -> None:
    async with serving(HttpProxy(connect=b"")) as via:
        options = {"base_url": "https://api.telegram.org", "proxy": f"http://me:p%40ss@127.0.0.1:{via}"}
        async with transport(1, **options) as client:
            answer = await client.call(CALL)
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.PROXY, False)
