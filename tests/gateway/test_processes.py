"""The gateway as it is run: stopped and killed under load, apart from its courier, with large files."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kurir.simulator.harness import Telegram

from .helpers import Answered, envelope, until
from .processes import API_KEY, Process, running

CHAT = 7
CLIENTS = 50
MB = 1 << 20
STOP = 10.0  # seconds within which a process must have ended


@dataclass
class Crowd:
    """Clients that send, each in a chat of its own, until they are refused; and what each call came to."""

    process: Process
    session: aiohttp.ClientSession
    prefer: str = ""
    delivered: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)  # 503 that named a message, or 504
    refused: list[str] = field(default_factory=list)  # 503: not accepted
    closed: list[str] = field(default_factory=list)  # no answer at all

    async def client(self, chat: int) -> None:
        for number in itertools.count():
            text = f"{chat}.{number}"
            try:
                answer = await self._send(chat, text)
            except aiohttp.ClientError:
                self.closed.append(text)
                return
            if answer.status == 200:
                self.delivered.append(text)
                continue
            code, words = answer.refusal
            assert code in (503, 504), answer
            assert words.partition(":")[0] in ("Service Unavailable", "Gateway Timeout")
            stored = "Kurir-Message" in answer.headers
            assert stored == ("will still be delivered" in words)
            (self.later if stored else self.refused).append(text)
            return

    async def _send(self, chat: int, text: str) -> Answered:
        asked = {"chat_id": chat, "text": text}
        async with self.session.post(self.process.at("sendMessage"), json=asked) as response:
            return await envelope(response)


def stored(folder: Path) -> dict[str, str]:
    """State by text, of all messages."""
    with closing(sqlite3.connect(folder / "kurir.db")) as db:
        rows = db.execute("SELECT json_extract(params, '$.text'), state FROM message").fetchall()
    return dict(rows)


async def assert_nothing_lost(crowd: Crowd, telegram: Telegram, folder: Path) -> None:
    """All that was accepted is delivered once after a restart, and who got no answer was not accepted."""
    accepted = set(stored(folder))
    assert accepted == {*crowd.delivered, *crowd.later}
    assert not accepted & {*crowd.refused, *crowd.closed}
    telegram.heal()
    async with running(telegram, folder, "serve"):
        await until(lambda: len(telegram.sent()) >= len(accepted), 20)
        await asyncio.sleep(0.2)
    assert sorted(telegram.texts()) == sorted(accepted)


async def test_a_stop_under_load_answers_all_and_loses_nothing(telegram: Telegram, tmp_path: Path) -> None:
    telegram.fail("slow", seconds=0.05, method="sendMessage")
    async with running(telegram, tmp_path, "serve") as process, aiohttp.ClientSession() as session:
        crowd = Crowd(process, session)
        clients = [asyncio.ensure_future(crowd.client(chat)) for chat in range(1, CLIENTS + 1)]
        await until(lambda: len(crowd.delivered) > 3 * CLIENTS, 20)
        process.terminate()
        assert await process.ended(STOP) == 0, process.log
        await asyncio.wait_for(asyncio.gather(*clients), 5)
        assert not crowd.later, "Telegram answered in time"
        assert "Traceback" not in process.log
    await assert_nothing_lost(crowd, telegram, tmp_path)


async def test_a_stop_in_an_outage_tells_who_waits_that_it_comes_later(telegram: Telegram, tmp_path: Path) -> None:
    async with running(telegram, tmp_path, "serve") as process:
        telegram.outage(60)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            crowd = Crowd(process, session)
            clients = [asyncio.ensure_future(crowd.client(chat)) for chat in range(1, CLIENTS + 1)]
            await until(lambda: len(stored(tmp_path)) == CLIENTS)
            process.terminate()
            assert await process.ended(STOP) == 0, process.log
            await asyncio.wait_for(asyncio.gather(*clients), 5)
        assert len(crowd.later) == CLIENTS
        assert "Traceback" not in process.log
    await assert_nothing_lost(crowd, telegram, tmp_path)


async def test_a_stop_ends_long_polls_and_downloads_too(telegram: Telegram, tmp_path: Path) -> None:
    async with running(telegram, tmp_path, "serve") as process, aiohttp.ClientSession() as session:

        async def poll() -> Answered:
            async with session.get(process.at("getUpdates"), params={"timeout": "50"}) as response:
                return await envelope(response)

        polls = [asyncio.ensure_future(poll()) for _ in range(3)]
        await asyncio.sleep(0.3)
        process.terminate()
        assert await process.ended(3.0) == 0, process.log
        statuses = sorted(answer.status for answer in await asyncio.gather(*polls))
        assert statuses == [409, 409, 503]
        assert "Traceback" not in process.log


async def test_after_a_kill_the_repeat_joins_what_still_waits(telegram: Telegram, tmp_path: Path) -> None:
    async with running(telegram, tmp_path, "serve") as process, aiohttp.ClientSession() as session:
        telegram.outage(60)
        first = asyncio.ensure_future(session.post(process.at("sendMessage"), json={"text": "once", "chat_id": CHAT}))
        await until(lambda: bool(stored(tmp_path)))
        await process.kill()
        with pytest.raises(aiohttp.ClientError):
            await first
        await process.start()
        again = asyncio.ensure_future(session.post(process.at("sendMessage"), data={"chat_id": CHAT, "text": "once"}))
        await asyncio.sleep(0.3)
        telegram.heal()
        answer = await envelope(await again)
    (message,) = telegram.sent()
    assert answer.result["message_id"] == message.id
    assert len(stored(tmp_path)) == 1


async def test_doors_and_courier_may_be_two_processes(telegram: Telegram, tmp_path: Path) -> None:
    async with running(telegram, tmp_path, "serve", "--no-courier") as doors, aiohttp.ClientSession() as session:

        async def ask(method: str, given: dict[str, Any], **headers: str) -> Answered:
            async with session.post(doors.at(method), json=given, headers=headers) as response:
                return await envelope(response)

        late = await ask("sendMessage", {"chat_id": CHAT, "text": "waits"}, Prefer="wait=0")
        assert late.status == 504
        promised = await ask("sendMessage", {"chat_id": CHAT, "text": "promised"}, Prefer="respond-async")
        edit = {"chat_id": CHAT, "message_id": promised.result["message_id"], "text": "edited"}
        editing = asyncio.ensure_future(ask("editMessageText", edit))
        assert (await ask("getMe", {})).result["id"] == 123456
        async with running(telegram, tmp_path, "worker"):
            assert (await editing).result["text"] == "edited"
            assert (await ask("sendMessage", {"chat_id": CHAT, "text": "hi"})).result["text"] == "hi"
            refused = await ask("sendMessage", {"chat_id": CHAT, "text": "<b>", "parse_mode": "HTML"})
            assert refused.status == 400
            form = aiohttp.FormData({"chat_id": str(CHAT), "caption": "file"})
            form.add_field("document", b"bytes" * 1000, filename="a.bin")
            async with session.post(doors.at("sendDocument"), data=form) as response:
                assert (await envelope(response)).status == 200
    assert telegram.texts(CHAT) == ["waits", "edited", "hi", "file"]


# ---------------------------------------------------------------- large files


def debris(folder: Path) -> list[str]:
    """Files of requests that are over."""
    return [path.name for path in folder.rglob("new-*")]


async def test_fifty_megabytes_go_through_in_flat_memory_and_leave_nothing(telegram: Telegram, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    block = os.urandom(MB)
    with large.open("wb") as file:
        for _ in range(50):
            file.write(block)
    async with running(telegram, tmp_path, "serve") as process, aiohttp.ClientSession() as session:

        async def upload(source: Path, **fields: str) -> Answered:
            form = aiohttp.FormData({"chat_id": str(CHAT), **fields})
            with source.open("rb") as file:
                form.add_field("document", file, filename="large.bin")
                async with session.post(process.at("sendDocument"), data=form) as response:
                    return await envelope(response)

        small = tmp_path / "small.bin"
        small.write_bytes(b"small")
        assert (await upload(small)).status == 200
        before, handles = process.memory(), process.handles
        assert (await upload(large, caption="large")).result["document"]["file_size"] == 50 * MB
        assert process.memory(peak=True) - before < 30 * MB
        assert debris(tmp_path) == []
        with large.open("ab") as file:
            file.write(b"x")
        too_large = await upload(large)
        assert too_large.status == 413
        assert too_large.refusal[1].startswith("Request Entity Too Large")
        assert process.memory(peak=True) - before < 30 * MB
        assert debris(tmp_path) == []
        await until(lambda: process.handles <= handles + 2)
    (document,) = [message for message in telegram.sent(CHAT) if message.text == "large"]
    assert document.json["document"]["file_size"] == 50 * MB


async def test_who_hangs_up_amid_an_upload_leaves_nothing(telegram: Telegram, tmp_path: Path) -> None:
    async with running(telegram, tmp_path, "serve") as process:
        for _ in range(5):
            host, port = process.listen.split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            head = f"POST {process.at('sendDocument').removeprefix(process.url)} HTTP/1.1\r\nHost: x\r\n"
            part = '--b\r\nContent-Disposition: form-data; name="document"; filename="a"\r\n\r\n'
            kind = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000000\r\n\r\n"
            writer.write((head + kind + part).encode() + bytes(MB))
            await writer.drain()
            await until(lambda: bool(debris(tmp_path)))
            writer.transport.abort()
            await until(lambda: not debris(tmp_path))
        assert stored(tmp_path) == {}


async def test_a_stop_answers_rest_clients_and_ends_their_streams(telegram: Telegram, tmp_path: Path) -> None:
    async with running(telegram, tmp_path, "serve") as process, aiohttp.ClientSession() as session:
        host, port = process.url.removeprefix("http://").split(":")
        allowed = {"Authorization": f"Bearer {API_KEY}"}
        stream = await session.get(f"{process.url}/v1/events", headers=allowed)
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {API_KEY}\r\n"
        writer.write(head.encode() + b"content-type: application/json\r\ncontent-length: 1000\r\n\r\n{")
        await asyncio.sleep(0.3)
        process.terminate()
        async with asyncio.timeout(STOP):
            assert b" 503 " in await reader.readline()
            assert b"application/problem+json" in await reader.read()
            await stream.content.read()
        assert await process.ended(STOP) == 0
        stream.close()
        writer.close()
