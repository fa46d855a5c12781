"""Connections that get nowhere make room for others; those that wait for an answer are not hurried."""

from __future__ import annotations

import asyncio

import pytest

from kurir.web import protocol, server

from .helpers import Door

BODY = b"content-length: 1000\r\n\r\n"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIME", 0.5)
    monkeypatch.setattr(server, "KEEP_ALIVE", 1)


async def held(door: Door, first: bytes, later: bytes = b"") -> bytes:
    """What came until the server closed the connection."""
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(first)
        if later:
            await asyncio.sleep(0.2)
            writer.write(later)
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


async def test_nobody_keeps_a_connection_that_gets_nowhere(door: Door) -> None:
    token = door.telegram.token.encode()
    await asyncio.gather(
        held(door, b""),
        held(door, b"POST /bot"),
        held(door, b"POST /nothing HTTP/1.1\r\nhost: x\r\n" + BODY, b"x"),
        held(door, b"POST /bot99:xx/getMe HTTP/1.1\r\nhost: x\r\n" + BODY, b"x"),
        held(door, b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n", b"\r\n"),
        held(door, b"POST /bot%s/getMe HTTP/1.1\r\nhost: x\r\n" % token + BODY),
        held(door, b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n" + BODY),
    )


async def test_a_slow_upload_and_a_long_wait_are_left_alone(door: Door) -> None:
    door.telegram.fail("slow", seconds=1.2, times=1, method="sendMessage")
    token = door.telegram.token.encode()
    body = b'{"chat_id": 7, "text": "slow"}'
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = b"POST /bot%s/sendMessage HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" % token
    writer.write(head + b"content-length: %d\r\n\r\n" % len(body))
    for start in range(0, len(body), 8):
        writer.write(body[start : start + 8])
        await asyncio.sleep(0.3)
    async with asyncio.timeout(5):
        assert b"200 OK" in await reader.readline()
    writer.close()
