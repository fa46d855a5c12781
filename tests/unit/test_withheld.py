"""Nothing leaves that may not leave any more: asked with nothing between the question and the first byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kurir.core.outcome import Reply
from kurir.ports import Call, Part, Withheld
from kurir.telegram.transport import HttpTransport

TOKEN = "123456789:AAE-abcdefghijklmnopqrstuvwxyz01234"
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{"ok":true,"result":{}}'


class Server:
    """Notes what it was sent; answers whatever comes."""

    def __init__(self) -> None:
        self.heard = b""
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while data := await reader.read(65536):
            self.heard += data
            writer.write(ANSWER)
        writer.close()


@asynccontextmanager
async def before(server: Server) -> AsyncIterator[HttpTransport]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    client = HttpTransport(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    try:
        yield client
    finally:
        await client.close()
        listening.close()
        await listening.wait_closed()


def a_call(folder: Path | None, may_leave: bool) -> Call:
    parts: tuple[Part, ...] = ()
    if folder is not None:
        file = folder / "file"
        file.write_bytes(b"x" * 100)
        parts = (Part("photo", file, "x.jpg", "image/jpeg", 100),)
    return Call(TOKEN, "sendPhoto", b'{"chat_id":1,"photo":"attach://photo"}', parts, may_leave=lambda: may_leave)


@pytest.mark.parametrize("upload", [False, True])
async def test_a_call_that_may_not_leave_leaves_no_byte(tmp_path: Path, upload: bool) -> None:
    server = Server()
    async with before(server) as client:
        with pytest.raises(Withheld):
            await client.call(a_call(tmp_path if upload else None, may_leave=False))
        assert server.heard == b""
        answer = await client.call(a_call(tmp_path if upload else None, may_leave=True))  # the next one is not hurt
    assert isinstance(answer, Reply)
    assert server.heard.count(b"POST ") == 1


async def test_it_is_asked_when_the_connection_is_there() -> None:
    server = Server()
    seen: list[int] = []

    def may_leave() -> bool:
        seen.append(server.connections)
        return True

    async with before(server) as client:
        await client.call(Call(TOKEN, "sendMessage", b'{"chat_id":1}'))  # the server has noticed its first connection
        await client.call(Call(TOKEN, "sendMessage", b'{"chat_id":1}', may_leave=may_leave))
    assert seen == [1]
