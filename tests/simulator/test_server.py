"""The simulator over HTTP: every encoding a client may use, faults on the socket, outages, webhooks, control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kurir.ports import SystemClock
from kurir.simulator import Kind, Limits, Rule, SimulatorServer, World

from .helpers import TOKEN


@pytest.fixture
async def server() -> AsyncIterator[SimulatorServer]:
    world = World(SystemClock(), limits=Limits.none(), open_doors=True)
    world.add_bot(TOKEN)
    async with SimulatorServer(world) as server:
        yield server
    world.close()


@pytest.fixture
async def http(server: SimulatorServer) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(base_url=server.url, timeout=timeout) as session:
        yield session


def path(method: str, token: str = TOKEN) -> str:
    return f"/bot{token}/{method}"


async def text_of(answer: aiohttp.ClientResponse) -> str:
    return str((await answer.json())["result"]["text"])


# ---------------------------------------------------------------- encodings


@pytest.mark.parametrize("method", ["sendMessage", "SENDMESSAGE", "test/sendMessage"])
async def test_json_is_read_and_method_names_in_any_case(http: aiohttp.ClientSession, method: str) -> None:
    async with http.post(path(method), json={"chat_id": 1, "text": "x"}) as answer:
        assert await text_of(answer) == "x"
        assert answer.headers["Content-Type"].startswith("application/json")


async def test_a_form_is_read(http: aiohttp.ClientSession) -> None:
    async with http.post(path("sendMessage"), data={"chat_id": "1", "text": "я & b"}) as answer:
        assert await text_of(answer) == "я & b"


@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_a_long_query_string_is_read(http: aiohttp.ClientSession, verb: str) -> None:
    params = {"chat_id": "1", "text": "я" * 4096}
    async with http.request(verb, path("sendMessage"), params=params) as answer:
        assert await text_of(answer) == "я" * 4096


async def test_a_token_may_be_percent_encoded(http: aiohttp.ClientSession, server: SimulatorServer) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET /bot123%3AABC/getMe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b'"is_bot":true' in await reader.read()
    writer.close()


async def test_files_come_by_their_own_name_or_attached(http: aiohttp.ClientSession) -> None:
    for field in ("document", "any-name"):
        form = aiohttp.FormData({"chat_id": "1"})
        if field != "document":
            form.add_field("document", f"attach://{field}")
        form.add_field(field, b"hello", filename="a.txt", content_type="text/plain")
        async with http.post(path("sendDocument"), data=form) as answer:
            document = (await answer.json())["result"]["document"]
            assert (document["file_name"], document["mime_type"], document["file_size"]) == ("a.txt", "text/plain", 5)


async def test_an_unquoted_filename_is_read(http: aiohttp.ClientSession) -> None:
    body = (
        b'--b\r\ncontent-disposition:form-data;name="chat_id"\r\n\r\n1\r\n'
        b'--b\r\ncontent-disposition:form-data;name="document"\r\n\r\nattach://f\r\n'
        b'--b\r\ncontent-disposition:form-data;name="f";filename=a.txt\r\n'
        b"content-type:application/octet-stream\r\n\r\nhello\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with http.post(path("sendDocument"), data=body, headers=headers) as answer:
        assert (await answer.json())["result"]["document"]["file_name"] == "a.txt"


async def test_what_was_uploaded_can_be_downloaded(http: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData({"chat_id": "1"})
    form.add_field("document", b"hello", filename="a.txt")
    async with http.post(path("sendDocument"), data=form) as answer:
        file_id = (await answer.json())["result"]["document"]["file_id"]
    async with http.get(path("getFile"), params={"file_id": file_id}) as answer:
        file_path = (await answer.json())["result"]["file_path"]
    async with http.get(f"/file/bot{TOKEN}/{file_path}") as answer:
        assert await answer.read() == b"hello"
    async with http.get(f"/file/bot{TOKEN}/documents/none") as answer:
        assert answer.status == 404


@pytest.mark.parametrize("body", [b"{", b"[1]"])
async def test_a_broken_body_is_a_bad_request(http: aiohttp.ClientSession, body: bytes) -> None:
    async with http.post(path("sendMessage"), data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 400


async def test_any_other_path_is_not_found(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as answer:
        assert await answer.json() == {"ok": False, "error_code": 404, "description": "Not Found"}


async def test_a_429_has_its_header(http: aiohttp.ClientSession, server: SimulatorServer) -> None:
    server.world.limits = Limits(private=((1, 30.0),))
    for status in (200, 429):
        async with http.post(path("sendMessage"), json={"chat_id": 1, "text": "x"}) as answer:
            assert answer.status == status
    assert int(answer.headers["Retry-After"]) in (29, 30)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("rule", "arrives"),
    [(Rule(Kind.RESET_BEFORE), 0), (Rule(Kind.RESET_AFTER), 1), (Rule(Kind.REFUSED), 0)],
    ids=["before", "after", "refused"],
)
async def test_a_reset_breaks_the_connection(
    http: aiohttp.ClientSession, server: SimulatorServer, rule: Rule, arrives: int
) -> None:
    server.world.faults.add(rule)
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.post(path("sendMessage"), json={"chat_id": 1, "text": "x"})
    assert len(server.world.messages()) == len(server.world.journal.doubts) == arrives


@pytest.mark.parametrize("handled", [False, True])
async def test_a_hang_never_answers(http: aiohttp.ClientSession, server: SimulatorServer, handled: bool) -> None:
    server.world.faults.add(Rule(Kind.HANG, handled=handled))
    with pytest.raises(TimeoutError):
        await http.post(path("sendMessage"), json={"chat_id": 1, "text": "x"}, timeout=aiohttp.ClientTimeout(total=0.2))
    assert len(server.world.messages()) == len(server.world.journal.doubts) == int(handled)


async def test_a_client_that_leaves_a_held_call_is_in_doubt(
    http: aiohttp.ClientSession, server: SimulatorServer
) -> None:
    server.world.limits = Limits(private=((1, 5.0),), hold=True)
    await http.post(path("sendMessage"), json={"chat_id": 1, "text": "a"})
    with pytest.raises(TimeoutError):
        await http.post(path("sendMessage"), json={"chat_id": 1, "text": "b"}, timeout=aiohttp.ClientTimeout(total=0.2))
    await asyncio.sleep(0.1)
    assert [message.text for message in server.world.messages()] == ["a", "b"]
    assert len(server.world.journal.doubts) == 1


async def test_5xx_comes_as_json_or_html(http: aiohttp.ClientSession, server: SimulatorServer) -> None:
    server.world.faults.add(Rule(Kind.STATUS_JSON, status=500, times=1), Rule(Kind.STATUS_HTML, status=504))
    async with http.post(path("sendMessage"), json={"chat_id": 1, "text": "x"}) as answer:
        assert (await answer.json())["description"] == "Internal Server Error"
    async with http.post(path("sendMessage"), json={"chat_id": 1, "text": "x"}) as answer:
        assert (answer.status, answer.content_type) == (504, "text/html")
        assert "504 Gateway Time-out" in await answer.text()


async def test_an_outage_refuses_connections_and_ends_on_the_same_port(server: SimulatorServer) -> None:
    now = server.world.clock.now()
    server.world.faults.outage(now, now + 0.3)
    await asyncio.sleep(0.1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(server.host, server.port)
    await asyncio.sleep(0.35)
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}{path('getMe')}") as answer:
        assert answer.status == 200


async def test_an_outage_resets_what_is_under_way(http: aiohttp.ClientSession, server: SimulatorServer) -> None:
    server.world.faults.add(Rule(Kind.SLOW, seconds=2))
    call = asyncio.ensure_future(http.post(path("sendMessage"), json={"chat_id": 1, "text": "x"}))
    await asyncio.sleep(0.1)
    now = server.world.clock.now()
    server.world.faults.outage(now, now + 60)
    with pytest.raises(aiohttp.ClientConnectionError):
        await call
    assert len(server.world.messages()) == len(server.world.journal.doubts) == 1


# ---------------------------------------------------------------- updates


async def test_a_long_poll_is_answered_when_an_update_comes(
    http: aiohttp.ClientSession, server: SimulatorServer
) -> None:
    poll = asyncio.ensure_future(http.get(path("getUpdates"), params={"timeout": "5"}))
    await asyncio.sleep(0.05)
    server.world.say(1, "hi")
    answer = await poll
    assert (await answer.json())["result"][0]["message"]["text"] == "hi"


async def test_a_second_consumer_ends_the_first(http: aiohttp.ClientSession) -> None:
    first = asyncio.ensure_future(http.get(path("getUpdates"), params={"timeout": "5"}))
    await asyncio.sleep(0.05)
    await http.get(path("getUpdates"))
    assert (await first).status == 409


async def test_webhooks_are_delivered_in_order_with_the_secret_and_again_until_taken(
    http: aiohttp.ClientSession, server: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kurir.simulator.webhooks.BACKOFF", (0.02,))
    got: list[tuple[str, str]] = []
    statuses = [500, 200, 200]

    async def hook(request: web.Request) -> web.Response:
        update = await request.json()
        got.append((request.headers["X-Telegram-Bot-Api-Secret-Token"], update["message"]["text"]))
        reply = {"method": "sendMessage", "chat_id": 1, "text": f"re: {got[-1][1]}"}
        return web.json_response(reply, status=statuses[len(got) - 1])

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    await http.post(path("setWebhook"), json={"url": f"http://127.0.0.1:{port}/hook", "secret_token": "s3"})
    server.world.say(1, "a")
    server.world.say(1, "b")
    for _ in range(100):
        await asyncio.sleep(0.02)
        if len(got) == 3:
            break
    await asyncio.sleep(0.05)
    assert got == [("s3", "a"), ("s3", "a"), ("s3", "b")]
    assert [message.text for message in server.world.messages() if message.own] == ["re: a", "re: b"]
    async with http.get(path("getWebhookInfo")) as answer:
        assert (await answer.json())["result"]["last_error_message"].startswith("Wrong response from the webhook: 500")
    await runner.cleanup()


# ---------------------------------------------------------------- control


async def control(http: aiohttp.ClientSession, verb: str, what: str, body: Any = None) -> Any:
    async with http.request(verb, f"/sim/{what}", json=body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_the_control_api_steers_everything(http: aiohttp.ClientSession, server: SimulatorServer) -> None:
    server.world.open_doors = False
    await control(http, "POST", "bots", {"token": "9:Z"})
    await control(http, "POST", "chats", {"id": 5})
    await control(http, "POST", "chats", {"id": -6, "type": "group"})
    await http.post(path("sendMessage", "9:Z"), json={"chat_id": 5, "text": "a"})
    await control(http, "POST", "chats/5/state", {"state": "blocked"})
    async with http.post(path("sendMessage", "9:Z"), json={"chat_id": 5, "text": "b"}) as answer:
        assert answer.status == 403
    await control(http, "POST", "chats/-6/migrate", {"to": -1_006})
    async with http.post(path("sendMessage"), json={"chat_id": -6, "text": "b"}) as answer:
        assert (await answer.json())["parameters"] == {"migrate_to_chat_id": -1_006}
    await control(http, "PUT", "limits", {"private": [[1, 60]], "hold": True})
    assert server.world.limits.private == ((1, 60.0),)
    await control(http, "POST", "faults", [{"kind": "status_json", "status": 500, "times": 1}])
    async with http.post(path("sendMessage"), json={"chat_id": 5, "text": "c"}) as answer:
        assert answer.status == 500
    await control(http, "POST", "say", {"chat": 5, "text": "hi", "token": "9:Z"})
    report = await control(http, "POST", "report", {"expected": {"5": ["a", "b"]}})
    assert (report["lost"], report["clean"]) == ([[5, "b"]], False)
    journal = await control(http, "GET", "journal?verb=sent")
    assert [entry["mark"] for entry in journal["entries"]] == ["a"]
    assert [message["text"] for message in await control(http, "GET", "messages?chat=5")] == ["a", "hi"]
    await control(http, "POST", "reset")
    assert (await control(http, "GET", "state"))["messages"] == 0


@pytest.mark.parametrize(
    ("verb", "what", "body", "status"),
    [("POST", "chats", {}, 400), ("POST", "faults", {"kind": "x"}, 400), ("POST", "magic", {}, 404),
     ("PUT", "limits", {"speed": 1}, 400), ("POST", "chats/77/state", {"state": "blocked", "token": "no"}, 400)],
)  # fmt: skip
async def test_the_control_api_says_what_is_wrong(
    http: aiohttp.ClientSession, verb: str, what: str, body: Any, status: int
) -> None:
    async with http.request(verb, f"/sim/{what}", json=body) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]
