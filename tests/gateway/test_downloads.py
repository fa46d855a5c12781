"""Files of getFile come through as they are, piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from kurir.simulator.harness import Telegram
from kurir.web.gateway import downloads

from .helpers import Door, envelope, opened, until

CHAT = 7
LARGE = random.Random(1).randbytes(3 * 1024 * 1024)
OTHER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 23\r\n\r\n{"ok":true,"result":{}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    """Answers the nth request for a file as `acts` say, the last one again and again."""

    acts: list[Act]
    url: str = ""
    asked: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                while (await reader.readline()).strip():
                    continue
                if b"/file/bot" not in line:
                    writer.write(OTHER)
                    continue
                act = self.acts[min(self.asked, len(self.acts) - 1)]
                self.asked += 1
                await act(reader, writer)
        except OSError:
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def upstream(*acts: Act) -> AsyncIterator[Upstream]:
    """Something that is not quite Telegram."""
    there = Upstream(list(acts))
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    there.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield there
    finally:
        server.close()


async def breaks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def whole(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD % 5 + b"bytes")


async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD % 10 + b"bytes")
    await writer.drain()
    writer.transport.abort()


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()  # the other one has closed
    raise ConnectionResetError


async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD % (1 << 40))
    while True:
        writer.write(bytes(1 << 16))
        await writer.drain()


def file_url(door: Door, path: str, token: str | None = None) -> str:
    return f"{door.url}/file/bot{token or door.telegram.token}/{path}"


async def uploaded(door: Door, content: bytes) -> str:
    """The file_path of a document that the bot sent."""
    form = aiohttp.FormData({"chat_id": str(CHAT)})
    form.add_field("document", BytesIO(content), filename="dätä.bin")
    document = (await door.ask("sendDocument", data=form)).result["document"]
    path: str = (await door.ask("getFile", {"file_id": document["file_id"]})).result["file_path"]
    return path


async def test_a_file_comes_through_whole(door: Door) -> None:
    path = await uploaded(door, LARGE)
    async with door.session.get(file_url(door, path)) as response:
        content = await response.read()
    assert response.status == 200
    assert response.headers["Content-Length"] == str(len(LARGE))
    assert hashlib.sha256(content).digest() == hashlib.sha256(LARGE).digest()


async def test_the_head_of_a_file_comes_without_it(door: Door) -> None:
    path = await uploaded(door, LARGE)
    async with door.session.head(file_url(door, path)) as response:
        assert response.status == 200
        assert response.headers["Content-Length"] == str(len(LARGE))
        assert await response.read() == b""
    async with door.session.get(file_url(door, path)) as response:
        assert len(await response.read()) == len(LARGE)


async def test_a_file_that_is_not_there_is_not_found_in_telegrams_words(door: Door) -> None:
    for path in ("documents/none.bin", "x", "", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/x", "a%00b", "a%0d%0aX:y"):
        async with door.session.get(URL(file_url(door, path), encoded=True)) as response:
            answer = await envelope(response)
        assert (path, answer.status) == (path, 404)
        assert answer.refusal[1].startswith("Not Found")


async def test_a_wrong_token_gets_no_file(door: Door) -> None:
    for token, status in (("99:x", 401), ("123456:wrong", 401), ("abc", 404)):
        async with door.session.get(file_url(door, "documents/a.bin", token)) as response:
            assert (await envelope(response)).status == status


async def test_a_break_before_the_first_byte_is_tried_again(telegram: Telegram, tmp_path: Path) -> None:
    async with upstream(breaks, breaks, whole) as there, opened(telegram, tmp_path, url=there.url) as door:
        async with door.session.get(file_url(door, "documents/a.bin")) as response:
            assert (response.status, await response.read()) == (200, b"bytes")
        assert there.asked == 3


async def test_a_break_amid_the_file_is_seen_by_the_client(telegram: Telegram, tmp_path: Path) -> None:
    async with upstream(half) as there, opened(telegram, tmp_path, url=there.url) as door:
        async with door.session.get(file_url(door, "documents/a.bin")) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert there.asked == 1
        assert (await door.send(CHAT, "hi", prefer="wait=0")).status == 504  # the doors are open as before


async def test_who_leaves_amid_a_file_ends_its_download(telegram: Telegram, tmp_path: Path) -> None:
    async with upstream(endless) as there, opened(telegram, tmp_path, url=there.url) as door:
        response = await door.session.get(file_url(door, "documents/a.bin"))
        await response.content.read(1 << 16)
        response.close()
        await asyncio.wait_for(there.gone.wait(), 5)


async def test_who_leaves_before_the_first_byte_ends_its_download(telegram: Telegram, tmp_path: Path) -> None:
    async with upstream(silent) as there, opened(telegram, tmp_path, url=there.url) as door:
        asking = asyncio.ensure_future(door.session.get(file_url(door, "documents/a.bin")))
        await until(lambda: there.asked == 1)
        asking.cancel()
        await asyncio.wait_for(there.gone.wait(), 5)


async def test_a_stop_tells_who_waits_for_a_file_and_breaks_off_what_runs(telegram: Telegram, tmp_path: Path) -> None:
    async with upstream(endless, silent) as there, opened(telegram, tmp_path, url=there.url) as door:
        running = await door.session.get(file_url(door, "documents/a.bin"))
        waiting = asyncio.ensure_future(door.session.get(file_url(door, "documents/b.bin")))
        await until(lambda: there.asked == 2)
        await asyncio.wait_for(door.doors.close(), 5)
        assert (await envelope(await waiting)).status == 503
        with pytest.raises(aiohttp.ClientPayloadError):
            await running.read()


async def test_an_outage_is_told_in_the_envelope(
    telegram: Telegram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "PAUSES", (0.01, 0.01))
    async with upstream(breaks) as there, opened(telegram, tmp_path, url=there.url) as door:
        async with door.session.get(file_url(door, "documents/a.bin")) as response:
            answer = await envelope(response)
        assert answer.status == 502
        assert answer.refusal[1].startswith("Bad Gateway: ")
        assert there.asked == 3
