"""Promises of downloads handed on piece by piece, and of Telegram's test environment, over real HTTP."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from urllib.parse import unquote

import aiohttp
import pytest
from test_transport import OK, TOKEN, Handler, Reader, Telegram, Writer, closed_port, response, serving, transport

from kurir.core.errors import KurirError
from kurir.core.outcome import Break, NoReply, Reply
from kurir.ports import Call, Part, SystemClock
from kurir.simulator import Limits, SimulatorServer, World
from kurir.telegram.download import Download
from kurir.telegram.transport import HttpTransport

MB = 1024 * 1024
NOT_FOUND = b'{"ok":false,"error_code":404,"description":"Not Found"}'


class Files:
    """A file server that keeps connections alive; remembers which paths were asked for and how much it could send."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.connections = 0
        self.open = 0

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head.split(b" ", 2)[1])
                writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
                await writer.drain()
        finally:
            self.open -= 1


class Endless:
    """Sends for ever, as fast as it is taken."""

    def __init__(self) -> None:
        self.sent = 0
        self.gone = asyncio.Event()

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                self.sent += 65536
        finally:
            self.gone.set()


async def begin(client: HttpTransport, path: str = "photos/file_1.jpg") -> Download:
    begun = await client.stream(TOKEN, path)
    assert isinstance(begun, Download), begun
    return begun


async def content(download: Download) -> bytes:
    async with download:
        return b"".join([piece async for piece in download])


# ---------------------------------------------------------------- content


async def test_a_file_comes_in_pieces_with_its_length_and_type() -> None:
    data = bytes(range(256)) * 4000
    async with serving(Files(response(data))) as port, transport(port) as client:
        download = await begin(client)
        assert (download.status, download.content_length) == (200, len(data))
        assert download.content_type == "application/json"
        assert await content(download) == data


async def test_a_refusal_is_handed_on_with_its_words() -> None:
    async with serving(Files(response(NOT_FOUND, "404 Not Found"))) as port, transport(port) as client:
        download = await begin(client)
        assert download.status == 404
        assert await content(download) == NOT_FOUND


async def test_a_length_that_is_not_told_is_none() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with serving(Files(chunked)) as port, transport(port) as client:
        download = await begin(client)
        assert download.content_length is None
        assert download.content_type == "application/octet-stream"
        assert await content(download) == b"abc"


async def test_an_empty_file_is_a_file() -> None:
    async with serving(Files(response(b""))) as port, transport(port) as client:
        assert await content(await begin(client)) == b""


# ---------------------------------------------------------------- breaks


async def test_a_download_that_cannot_begin_says_so_without_raising() -> None:
    async with transport(await closed_port()) as client:
        begun = await client.stream(TOKEN, "x")
    assert isinstance(begun, NoReply)
    assert (begun.kind, begun.sent) == (Break.REFUSED, False)


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    async def mute(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(60)

    async with serving(mute) as port, transport(port, read_timeout=0.2, pool=1, connect_timeout=0.2) as client:
        for _ in range(2):
            begun = await client.stream(TOKEN, "x")
            assert isinstance(begun, NoReply)
            assert begun.kind is Break.TIMEOUT  # and not: no free connection


@pytest.mark.parametrize("stalls", [True, False])
async def test_a_break_half_way_is_told_to_whoever_takes_it(stalls: bool) -> None:
    async def half(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(b"x" * 1000)[:-10])
        await asyncio.sleep(60 if stalls else 0.05)

    async with serving(half) as port, transport(port, read_timeout=0.3, pool=1) as client:
        for _ in range(2):
            with pytest.raises(KurirError, match=r"download of photos/file_1\.jpg failed"):
                await content(await begin(client))


# ---------------------------------------------------------------- connections


async def test_a_whole_download_leaves_the_connection_to_the_next() -> None:
    files = Files(response(b"x" * MB))
    async with serving(files) as port, transport(port, pool=1) as client:
        for _ in range(3):
            assert len(await content(await begin(client))) == MB
    assert files.connections == 1


async def test_a_download_given_up_half_way_gives_its_place_and_not_its_connection() -> None:
    files = Files(response(b"x" * 4 * MB), response(b"second"))
    async with serving(files) as port, transport(port, pool=1, connect_timeout=0.5) as client:
        async with await begin(client) as download:
            async for _ in download:
                break
        await download.close()  # once more does no harm
        assert await content(await begin(client)) == b"second"
    assert files.connections == 2


async def test_a_cancelled_taker_gives_everything_back() -> None:
    endless = Endless()
    async with serving(endless) as port, transport(port, pool=1, connect_timeout=0.5) as client:

        async def take() -> None:
            async with await begin(client) as download:
                async for _ in download:
                    await asyncio.sleep(0.01)

        taker = asyncio.create_task(take())
        await asyncio.sleep(0.1)
        taker.cancel()
        await asyncio.gather(taker, return_exceptions=True)
        await asyncio.wait_for(endless.gone.wait(), 2)
        async with await begin(client):
            pass


@pytest.mark.parametrize("pieces", [0, 2])
async def test_who_takes_nothing_any_more_loses_the_connection(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kurir.telegram.download.STALLED", 0.2)
    endless = Endless()
    async with serving(endless) as port, transport(port, pool=1, connect_timeout=0.5) as client:
        stalled = await begin(client)
        for _ in range(pieces):
            await anext(stalled)
        await asyncio.wait_for(endless.gone.wait(), 2)
        async with await begin(client):
            pass
        with pytest.raises(KurirError, match="nobody took it"):
            await anext(stalled)


async def test_what_a_slow_taker_has_not_taken_stays_on_the_network() -> None:
    endless = Endless()
    async with serving(endless) as port, transport(port) as client:
        tracemalloc.start()
        try:
            async with await begin(client) as download:
                taken = 0
                for _ in range(5):
                    taken += len(await anext(download))
                    await asyncio.sleep(0.1)
                _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 2 * MB
    assert taken <= 5 * 65536
    assert endless.sent < 16 * MB  # the buffers of two sockets


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("photos/file 1.jpg", "photos/file%201.jpg"),
        ("/photos//a", "photos//a"),
        ("a?b=c#d", "a%3Fb%3Dc%23d"),
        ("a;b&c", "a%3Bb%26c"),
        ("100%25.txt", "100%2525.txt"),
        ("кот.jpg", "%D0%BA%D0%BE%D1%82.jpg"),
        ("..a/b../...", "..a/b../..."),
    ],
)
async def test_a_path_is_quoted(path: str, asked: str) -> None:
    files = Files(response(b"x"))
    async with serving(files) as port, transport(port) as client:
        await content(await begin(client, path))
    assert files.asked == [f"/file/bot{TOKEN}/{asked}".encode()]
    assert unquote(asked) == path.lstrip("/")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "..",
        ".",
        "../x",
        "a/../../botX/getMe",
        "a/./b",
        "a/..",
        "%2e%2e/x",
        "%252e%252e%252fx",
        "a%2f..%2f..%2fx",
        "..\\x",
        "a%5c..%5cx",
        "a\r\nEvil: 1",
        "a\0b",
        "a%0d%0ab",
        "\ud800",
    ],
)
async def test_a_path_that_leads_out_never_leaves(path: str) -> None:
    files = Files(response(b"x"))
    async with serving(files) as port, transport(port) as client:
        with pytest.raises(KurirError, match="no file_path"):
            await client.stream(TOKEN, path)
        with pytest.raises(KurirError, match="no file_path"):
            await client.download(TOKEN, path, Path("never"))
    assert files.connections == 0


async def test_a_local_server_s_disk_is_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    async with serving(Files(response(NOT_FOUND, "404 Not Found"))) as port, transport(port, local=True) as client:
        download = await begin(client, str(tmp_path / "secret"))
        assert download.status == 404
        await download.close()


# ---------------------------------------------------------------- test environment


@pytest.mark.parametrize("test", [False, True])
async def test_a_bot_of_the_test_environment_has_its_own_addresses(test: bool) -> None:
    telegram, files, place = Telegram(), Files(response(b"x")), b"/test" if test else b""
    async with serving(telegram) as port, transport(port) as client:
        for other in (test, not test, test):
            await client.call(Call(TOKEN, "getMe", b"{}", test=other))
    paths = [head.split(b" ", 2)[1] for head, _ in telegram.requests]
    assert paths[0] == paths[2] == f"/bot{TOKEN}".encode() + place + b"/getMe"
    assert paths[1] != paths[0]
    async with serving(files) as port, transport(port) as client:
        begun = await client.stream(TOKEN, "a/b", test=test)
        assert isinstance(begun, Download)
        await begun.close()
    assert files.asked == [f"/file/bot{TOKEN}".encode() + place + b"/a/b"]


async def test_uploads_of_the_test_environment_go_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    telegram = Telegram()
    async with serving(telegram) as port, transport(port) as client:
        part = Part("photo", tmp_path / "a", "a.jpg", "image/jpeg", 1)
        await client.call(Call(TOKEN, "sendPhoto", b'{"chat_id":1}', (part,), test=True))
    assert telegram.requests[0][0].startswith(f"POST /bot{TOKEN}/test/sendPhoto ".encode())


async def test_the_simulator_serves_the_test_environment_too(tmp_path: Path) -> None:
    world = World(SystemClock(), limits=Limits.none(), open_doors=True)
    world.add_bot(TOKEN)
    try:
        async with SimulatorServer(world) as server, transport(server.port, base_url=server.url) as client:
            answer = await client.call(Call(TOKEN, "getMe", b"{}", test=True))
            assert isinstance(answer, Reply)
            assert answer.status == 200
            form = aiohttp.FormData({"chat_id": "1"})
            form.add_field("document", b"content", filename="a.txt")
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{server.url}/bot{TOKEN}/test/sendDocument", data=form) as sent,
            ):
                file_id = (await sent.json())["result"]["document"]["file_id"]
            answer = await client.call(Call(TOKEN, "getFile", b'{"file_id":"%b"}' % file_id.encode(), test=True))
            assert isinstance(answer, Reply)
            assert answer.payload is not None
            path = answer.payload["result"]["file_path"]
            assert await client.download(TOKEN, path, tmp_path / "a", test=True) == 7
            begun = await client.stream(TOKEN, path, test=True)
            assert isinstance(begun, Download)
            assert await content(begun) == b"content"
    finally:
        world.close()


# ---------------------------------------------------------------- long polls


async def test_long_polls_on_a_transport_of_their_own_take_nothing_from_deliveries() -> None:
    async def telegram(reader: Reader, writer: Writer) -> None:
        answers = Telegram(response(OK))
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/getUpdates " in head:
            await asyncio.sleep(60)
        await reader.readexactly(2)
        writer.write(answers.answer)

    handler: Handler = telegram
    async with (
        serving(handler) as port,
        transport(port, pool=2, connect_timeout=0.5) as deliveries,
        transport(port, pool=200) as direct,
    ):
        polls = [asyncio.create_task(direct.call(Call(TOKEN, "getUpdates", b"{}"))) for _ in range(100)]
        await asyncio.sleep(0.2)
        answers = await asyncio.gather(*(deliveries.call(Call(TOKEN, "sendMessage", b"{}")) for _ in range(20)))
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
    assert all(isinstance(answer, Reply) for answer in answers)
