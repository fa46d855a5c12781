"""GET /v1/events: what happens, as it happens; bounded for who reads slowly."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
import pytest

from kurir.ports import KeyStore
from kurir.simulator.model import ChatState
from kurir.web.auth import make_key
from kurir.web.rest import events

from .door import KEY, PATIENCE, Door, is_problem, text_to, until

BATCHES = 8


class Listener:
    """Reads the stream."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.comments: list[str] = []

    async def next(self) -> tuple[str, Any]:
        """The next event: its name and its data."""
        name, data = "", None
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await self._response.content.readline()).decode().rstrip("\n")
                if line.startswith(":"):
                    self.comments.append(line)
                elif line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = orjson.loads(line.removeprefix("data: "))
                elif not line and name:
                    return name, data

    async def until(self, name: str, id: str | None = None) -> Any:
        while True:
            got, data = await self.next()
            if got == name and (id is None or data["id"] == id):
                return data

    async def ended(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            while line := await self._response.content.readline():
                assert line is not None
        return True


@asynccontextmanager
async def listening(door: Door, query: str = "", **headers: str) -> AsyncIterator[Listener]:
    headers["Authorization"] = f"Bearer {door.key}"
    async with door.session.get(f"{door.url}/v1/events{query}", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        line = await response.content.readline()
        assert line == b": connected\n"
        yield Listener(response)


async def test_the_life_of_a_message_is_heard(door: Door) -> None:
    async with listening(door) as ear:
        id = await door.send("Hello")
        submitted = await ear.until("submitted", id)
        assert (submitted["bot"], submitted["chat"], submitted["method"]) == ("shop", "42", "sendMessage")
        attempted = await ear.until("attempted", id)
        assert (attempted["number"], attempted["outcome"]) == (1, "delivered")
        settled = await ear.until("settled", id)
        assert settled["state"] == "delivered"
        assert settled["result"]["text"] == "Hello"


async def test_a_refusal_is_heard_in_telegrams_words(door: Door) -> None:
    door.telegram.close_chat(43, ChatState.BLOCKED)
    async with listening(door, "?state=dead") as ear:
        id = await door.send("x", 43)
        name, data = await ear.next()
        assert (name, data["id"], data["state"]) == ("settled", id, "dead")
        assert "blocked" in data["reason"]


async def test_changes_by_hand_are_heard(still: Door) -> None:
    async with listening(still, "?type=altered") as ear:
        id = await still.send()
        await still.post(f"/v1/messages/{id}/cancel")
        assert (await ear.until("altered", id))["state"] == "cancelled"
        await still.post(f"/v1/messages/{id}/retry")
        assert (await ear.until("altered", id))["state"] == "waiting"
        await still.post(f"/v1/messages/{id}/cancel")
        await still.post("/v1/messages/purge", {"state": "cancelled"})
        while (await ear.until("altered", id))["state"] is not None:
            pass


async def test_only_what_was_asked_for_is_heard(still: Door) -> None:
    first = await still.send("x", 43)
    async with (
        listening(still, "?chat_id=42") as of_chat,
        listening(still, f"?id={first}") as of_id,
        listening(still, "?bot=shop&type=submitted,settled") as of_bot,
    ):
        ids = [await still.send("x", chat) for chat in (43, 42)]
        assert (await of_chat.until("submitted"))["id"] == ids[1]
        assert (await of_bot.until("submitted"))["id"] == ids[0]
        await still.post(f"/v1/messages/{first}/cancel")
        assert (await of_id.next())[1]["id"] == first


async def test_a_break_is_told_and_nothing_is_replayed(still: Door) -> None:
    await still.send()
    async with listening(still, **{"Last-Event-ID": "7"}) as ear:
        assert await ear.next() == ("lost", {"count": None})


async def test_silence_is_filled_with_comments(still: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.05)
    async with listening(still) as ear:
        await asyncio.sleep(0.3)
        await still.send()
        await ear.next()
        assert ": still here" in ear.comments


async def test_who_reads_slowly_is_told_what_was_lost(still: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads nothing: what is kept for it stays bounded, and it hears how much it missed."""
    monkeypatch.setattr(events, "QUEUE", 50)
    address = urlsplit(still.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 14)
    writer.write(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
    await reader.readuntil(b": connected\n")
    (client,) = still.rest._feed._clients
    for _ in range(BATCHES):
        await still.post("/v1/messages", [text_to("x" * 100)] * 1000)
        assert len(client.queue) <= 50
    seen = lost = 0
    async with asyncio.timeout(PATIENCE):
        while seen + lost < BATCHES * 1000:
            line = await reader.readline()
            seen += line == b"event: submitted\n"
            if found := re.match(rb'data: {"count":(\d+)}', line):
                lost += int(found[1])
    writer.close()
    assert lost
    assert seen + lost == BATCHES * 1000


async def test_a_client_that_left_is_forgotten(still: Door) -> None:
    async with listening(still):
        assert len(still.rest._feed._clients) == 1

    async def forgotten() -> bool:
        return not still.rest._feed._clients

    await until(forgotten, "it is forgotten")


async def test_there_is_an_end_to_listeners(still: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "CLIENTS", 1)
    async with listening(still):
        got = await still.get("/v1/events")
        is_problem(got, 503, "busy")
        assert int(got.headers["Retry-After"]) >= 1


async def test_a_stop_ends_the_streams(still: Door) -> None:
    async with listening(still) as ear:
        still.rest.end()
        assert await ear.ended()
    is_problem(await still.get("/v1/events"), 503, "stopping")


async def test_the_streams_of_a_revoked_key_end_within_five_seconds(still: Door) -> None:
    """One that hears something all the time, and one that hears nothing."""
    key, secret = make_key("someone", "read", time.time())
    store = cast("KeyStore", still.kurir.store)
    await store.add_key(key)
    theirs, stop = still.with_key(secret), asyncio.Event()

    async def talk() -> None:
        while not stop.is_set():
            await still.send()
            await asyncio.sleep(0.02)

    async with listening(theirs) as busy, listening(theirs, "?id=nobody") as idle, listening(still) as other:
        talking = asyncio.create_task(talk())
        try:
            await busy.until("submitted")
            assert await store.revoke_key(key.id, time.time())
            async with asyncio.timeout(5.0):
                await asyncio.gather(busy.ended(), idle.ended())
            assert await other.until("submitted")
        finally:
            stop.set()
            await talking
    is_problem(await theirs.get("/v1/events"), 401, "no-key")


async def test_a_key_may_listen_ten_times(still: Door) -> None:
    theirs = await still.as_role("read")
    async with AsyncExitStack() as stack:
        for _ in range(events.PER_KEY):
            await stack.enter_async_context(listening(theirs))
        got = await theirs.get("/v1/events")
        is_problem(got, 429, "too-many")
        assert int(got.headers["Retry-After"]) >= 1
        await stack.enter_async_context(listening(still))


async def test_what_is_kept_for_a_slow_reader_is_bounded_in_bytes(still: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_BYTES", 1000)
    async with listening(still) as ear:
        await still.post("/v1/messages", [text_to()] * 100)
        (client,) = still.rest._feed._clients
        heard = [await ear.next()]
        while heard[-1][0] != "lost":
            heard.append(await ear.next())
        assert len(heard) - 1 + heard[-1][1]["count"] == 100
        assert client.size == 0
        id = await still.send()
        await ear.until("submitted", id)


@pytest.mark.parametrize(
    ("query", "field"),
    [("?state=gone", "state"), ("?type=x", "type"), ("?bot=nobody", "bot"), ("?bot=a&bot=b", "bot"), ("?ids=x", "ids")],
)
async def test_a_wrong_filter_is_named(still: Door, query: str, field: str) -> None:
    is_problem(await still.ask("GET", f"/v1/events{query}"), 422, "invalid-field", field)
