"""Whatever comes in: an answer in Telegram's shape or a closed connection, no 5xx without a reason, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import random
import string
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from kurir.core.methods import METHODS
from kurir.simulator.harness import Telegram

from .helpers import Door, opened

SEED = 20261122
WARM = 20  # messages sent before
SECONDS = 2.0  # for each of the two kinds of noise
PATIENCE = 8.0  # seconds within which each request has its answer
GOOD = {200, 400, 401, 403, 404, 405, 409, 413, 415, 429, 431}
EXCUSED = {502, 503, 504}  # with a reason

TEXTS = (
    "", " ", "hi", "0", "-1", "-20", "7", "true", "null", "NaN", "[]", "{}", "[[", '{"a":', "\x00", "\x7f", "\ufeff",
    "👩‍👩‍👧‍👦", "e\u0301", "\u202e", "𝕏" * 50, "a" * 5000, "<b>", "*_`[", "@news", "@" * 40, "attach://", "attach://x",
    "https://example.org/a.jpg", "../../etc/passwd", "%00", "%zz", "1e999", "9" * 400, "-" + "9" * 30, "\r\n\r\n", "\u2028",
)  # fmt: skip
NAMES = (
    "chat_id", "text", "message_id", "message_ids", "from_chat_id", "reply_parameters", "reply_to_message_id", "photo",
    "media", "caption", "parse_mode", "entities", "reply_markup", "latitude", "longitude", "user_id", "method", "offset",
    "timeout", "inline_message_id", "allow_paid_broadcast", "message_thread_id", "", "ü", "a" * 300, "x y", "__class__",
)  # fmt: skip
KINDS = (
    "application/json", "application/json; charset=utf-16", "APPLICATION/JSON", "application/x-www-form-urlencoded",
    "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=b", "text/plain", "",
    'multipart/form-data; boundary="b"', "multipart/form-data; boundary=" + "b" * 200, "nonsense", "\xff\xfe",
)  # fmt: skip
LONG = b"x" * 2_000_000
PREFERENCES = ("respond-async", "wait=0", "wait=1", "wait=99999999999", "respond-async, wait=0", "=", ";;,", "\xff")


class Noise:
    """Requests nobody should send, from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.methods = [name for name in METHODS if name not in ("logOut", "close", "setWebhook", "getUpdates")]

    def value(self, depth: int = 0) -> Any:
        pick = self.rng.randrange(12 if depth < 4 else 6)
        if pick < 3:
            return self.rng.choice(TEXTS)
        if pick < 6:
            return self.rng.choice([0, 7, -1, -20, -999999, 2**53, 2**63 - 1, 1.5, -0.0, 1e300, True, False, None])
        if pick < 9:
            return [self.value(depth + 1) for _ in range(self.rng.randrange(5))]
        return {self.rng.choice(NAMES): self.value(depth + 1) for _ in range(self.rng.randrange(4))}

    def params(self) -> dict[str, Any]:
        given = {self.rng.choice(NAMES): self.value() for _ in range(self.rng.randrange(6))}
        if self.rng.random() < 0.7:
            given["chat_id"] = self.rng.choice([7, "7", -5, "@news"])
        return given

    def method(self) -> str:
        if self.rng.random() < 0.1:
            return self.rng.choice(TEXTS)[:100]
        return self.rng.choice(["sendMessage", "editMessageText", "sendPhoto", "sendMediaGroup", *self.methods])

    def json(self) -> bytes:
        text = orjson.dumps(self.params())
        pick = self.rng.randrange(8)
        if pick == 0:
            return text[: self.rng.randrange(len(text) + 1)]
        if pick == 1:
            return text.replace(b'"', self.rng.choice([b"'", b"", b'"\\ud83d', b'"\xff']), 1)
        if pick == 2:
            return self.rng.choice([b"[", b"{", b'{"chat_id":[' * 200, b"[" * 5000, b"NaN", b'{"a":1}{"b":2}', b"\x00"])
        return text

    def form(self) -> bytes:
        items = (f"{name}={value}" for name, value in self.params().items())
        return "&".join(items).encode() + self.rng.choice([b"", b"&", b"&&=", b"%", b"&a=%ff", b"&=&", b"\xff"])

    def multipart(self) -> bytes:
        body = b""
        for name, value in self.params().items():
            file = self.rng.choice(
                ["", "", '; filename="a.jpg"', "; filename=a b", '; filename=""', "; filename*=x'y'%ff"]
            )
            content = self.rng.randbytes(self.rng.choice([0, 10, 70_000])) if file else str(value).encode()
            head = f'Content-Disposition: form-data; name="{name}"{file}'.encode()
            body += (
                b"--b\r\n"
                + self.rng.choice([head, head, head, b"", b"X:", b"nonsense"])
                + b"\r\n\r\n"
                + content
                + b"\r\n"
            )
        body += self.rng.choice([b"--b--\r\n", b"--b--", b"--b", b"", b"--c--"])
        return body if self.rng.random() < 0.8 else body[: self.rng.randrange(len(body) + 1)]

    def request(self, door: Door) -> tuple[str, URL, dict[str, str], bytes]:
        """Verb, URL, headers, body."""
        rng = self.rng
        method = "".join(c if c in string.ascii_letters else f"%{ord(c) % 256:02x}" for c in self.method())
        query = "" if rng.random() < 0.8 else "?" + self.form().decode("latin-1").replace(" ", "+")
        url = URL(door.at(method) + "".join(c for c in query if 32 < ord(c) < 127 and c != "#"), encoded=True)
        body, kind = rng.choice([
            (self.json(), KINDS[0]), (self.form(), KINDS[3]), (self.multipart(), KINDS[6]), (rng.randbytes(2000), ""),
        ])  # fmt: skip
        if rng.random() < 0.1:
            kind = rng.choice(KINDS)
        headers = {"Content-Type": kind, "Prefer": rng.choice(PREFERENCES) if rng.random() < 0.5 else "wait=0"}
        if rng.random() < 0.1:
            headers["Idempotency-Key"] = rng.choice(["k", "k2", "ü", " ", "x" * 300])
        if rng.random() < 0.05:
            headers["Kurir-Priority"] = rng.choice(["low", "HIGH", "7", ""])
        return rng.choice(["POST"] * 6 + ["GET"] * 3 + ["PUT", "HEAD"]), url, headers, body


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def debris(folder: Path) -> list[Path]:
    return list(folder.rglob("new-*"))


async def settled(before: int, folder: Path) -> None:
    """Open handles and temporary files are back to what they were."""
    end = time.monotonic() + 10
    while (now := handles()) > before + 8 or debris(folder):
        assert time.monotonic() < end, (before, now, debris(folder))
        await asyncio.sleep(0.05)


async def asked(door: Door, noise: Noise, seen: Counter[int]) -> None:
    verb, url, headers, body = noise.request(door)
    what = (verb, url, headers, body[:500])
    async with asyncio.timeout(PATIENCE):
        try:
            async with door.session.request(verb, url, headers=headers, data=body) as response:
                raw = await response.read()
                status = response.status
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            seen[0] += 1
            return
    seen[status] += 1
    assert status in GOOD | EXCUSED, (what, status, raw)
    if verb == "HEAD" or (status == 400 and raw.startswith(b"Invalid HTTP")):
        return
    answer = orjson.loads(raw)
    assert answer["ok"] is (status == 200), (what, raw)
    if status != 200:
        assert answer["error_code"] == status, (what, raw)
        assert len(answer["description"]) > 5, (what, raw)
    if status in EXCUSED:
        assert ": " in answer["description"], (what, raw)


@pytest.fixture
async def warm(telegram: Telegram, tmp_path: Path) -> Any:
    """A gateway that has its connections and its files."""
    async with opened(telegram, tmp_path, gateway_wait=1.0) as door:
        await asyncio.gather(*(door.send(chat, "warm") for chat in range(1, WARM + 1)))
        yield door


async def test_noise_is_answered_or_refused_and_leaves_nothing(warm: Door, tmp_path: Path) -> None:
    noise, seen = Noise(SEED), Counter[int]()
    before = handles()
    end = time.monotonic() + SECONDS

    async def client() -> None:
        while time.monotonic() < end:
            await asked(warm, noise, seen)

    await asyncio.gather(*(client() for _ in range(8)))
    assert sum(seen.values()) > 100
    assert seen[0] < sum(seen.values()) / 10, seen
    assert (await warm.send(77, "still here", prefer="wait=5")).result["text"] == "still here"
    await warm.session.close()
    await settled(before, tmp_path)


LINES = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST /bot%b/sendMessage HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nshort",
    b"POST /bot%b/sendMessage HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /bot%b/sendMessage HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /bot%b/sendMessage HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /bot%b/sendMessage HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    b"POST /bot%b/sendDocument HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    b'--b\r\nContent-Disposition: form-data; name="document"; filename="a"\r\n\r\n' + bytes(400_000),
    b"POST /bot%b/sendMessage HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
    b"GET /bot%b/sendMessage?text=" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /bot%b/sendMessage HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /bot%b/getMe HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"GET /bot%b/getMe HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
    b"GET  /bot%b/getMe\r\n",
    b"\r\n\r\n\r\n",
    b"",
)


async def raw(door: Door, rng: random.Random) -> None:
    """Part of a request, then the end in one way or another."""
    host, port = URL(door.url).host, URL(door.url).port
    reader, writer = await asyncio.open_connection(host, port)
    data = rng.choice(LINES).replace(b"%b", door.telegram.token.encode())
    if rng.random() < 0.4:
        data = data[: rng.randrange(len(data) + 1)]
    if rng.random() < 0.2:
        data += rng.randbytes(50)
    try:
        writer.write(data)
        await asyncio.wait_for(writer.drain(), PATIENCE)
        way = rng.randrange(3)
        if way == 0:
            writer.transport.abort()
            return
        if way == 1:
            writer.write_eof()
        try:
            got = await asyncio.wait_for(reader.read(1000), 0.2)
        except TimeoutError:
            return  # it waits for the rest, as it should
        assert not got or got.startswith(b"HTTP/1."), got
        assert not got.startswith(b"HTTP/1.1 500"), (data[:300], got)
    except (ConnectionError, RuntimeError):
        pass
    finally:
        writer.close()


async def test_half_requests_and_garbage_hold_nothing_up(warm: Door, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    before = handles()
    end = time.monotonic() + SECONDS

    async def client() -> None:
        while time.monotonic() < end:
            await raw(warm, rng)

    await asyncio.gather(*(client() for _ in range(8)))
    assert (await warm.send(77, "still here")).result["text"] == "still here"
    await settled(before, tmp_path)


REFUSED: tuple[tuple[int, bytes, dict[str, str]], ...] = (
    (413, b'{"chat_id":7,"text":"%b"}' % LONG, {"Content-Type": KINDS[0]}),
    (413, b"chat_id=7&text=" + LONG, {"Content-Type": KINDS[3]}),
    (400, b'{"chat_id":7,"text":"%b"}' % LONG[:5000], {"Content-Type": KINDS[0]}),
    (400, b"\xff\xfe", {"Content-Type": KINDS[0]}),
    (400, b'{"chat_id":7,"text":"\\ud83d"}', {"Content-Type": KINDS[0]}),
    (400, b'{"chat_id":7,', {"Content-Type": KINDS[0]}),
    (400, b"chat_id=7&text=%ff", {"Content-Type": KINDS[3]}),
    (400, b"", {"Content-Type": KINDS[6]}),
    (415, b"{}", {"Content-Type": KINDS[0], "Content-Encoding": "gzip"}),
)


async def test_what_is_too_large_or_malformed_is_refused(warm: Door) -> None:
    for status, body, headers in REFUSED:
        answer = await warm.ask("sendMessage", data=BytesIO(body), headers=headers)
        assert (body[:50], answer.status) == (body[:50], status)
    assert len(await warm.records()) == WARM + 1, "only Telegram judges how long a text is"


async def test_what_is_nested_deeply_is_answered_like_all_else(warm: Door) -> None:
    for depth in (50, 900, 5000):
        deep = "[" * depth + "]" * depth
        assert (await warm.ask("sendMessage", data={"chat_id": "7", "text": deep[:4096]})).status == 200
        for field in ("reply_markup", "reply_parameters", "message_ids", "media"):
            for method in ("sendMessage", "deleteMessages", "sendMediaGroup"):
                given = {"chat_id": "7", "text": "hi", field: deep}
                answer = await warm.ask(method, data=given, prefer="wait=5")
                assert answer.status in (200, 400), (depth, field, method, answer)


async def test_a_request_line_beyond_256_kilobytes_is_refused(warm: Door) -> None:
    answer = await warm.ask("sendMessage", params={"chat_id": "7", "text": "x" * 300_000}, verb="GET")
    assert answer.status == 400
    assert len(await warm.records()) == WARM


async def test_a_query_of_256_kilobytes_is_read(warm: Door) -> None:
    answer = await warm.ask("sendMessage", params={"chat_id": "7", "text": "hi", "note": "x" * 250_000}, verb="GET")
    assert answer.result["text"] == "hi"
