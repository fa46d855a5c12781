"""The `telegram` fixture that people test their own bots with."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import aiohttp
import pytest

from kurir.simulator import ChatState, Kind, Limits
from kurir.simulator.harness import Telegram


def call(telegram: Telegram, method: str, **params: Any) -> dict[str, Any]:
    """A bot as simple as they come."""
    request = urllib.request.Request(
        f"{telegram.url}/bot{telegram.token}/{method}",
        data=json.dumps(params).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return dict(json.load(error))


def test_a_bot_without_asyncio_can_be_tested(telegram: Telegram) -> None:
    telegram.say(42, "/start")
    update = call(telegram, "getUpdates")["result"][0]
    call(telegram, "sendMessage", chat_id=update["message"]["chat"]["id"], text="hello")
    assert telegram.texts(42) == ["hello"]


async def test_a_bot_with_asyncio_can_be_tested(telegram: Telegram) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{telegram.url}/bot{telegram.token}/sendMessage"
        await session.post(url, json={"chat_id": 42, "text": "hello"})
    assert [message.text for message in telegram.wait_for(1, 42)] == ["hello"]


def test_a_blocked_chat_answers_403(telegram: Telegram) -> None:
    telegram.close_chat(42)
    assert call(telegram, "sendMessage", chat_id=42, text="x")["error_code"] == 403
    telegram.close_chat(42, ChatState.OPEN)
    assert call(telegram, "sendMessage", chat_id=42, text="x")["ok"] is True


def test_faults_limits_and_outages_can_be_set(telegram: Telegram) -> None:
    telegram.fail(Kind.STATUS_JSON, status=500, times=1)
    assert call(telegram, "sendMessage", chat_id=42, text="x")["error_code"] == 500
    telegram.limit(Limits(private=((1, 60.0),)))
    codes = [call(telegram, "sendMessage", chat_id=42, text="x").get("error_code") for _ in range(2)]
    assert codes == [None, 429]
    telegram.lose(1.0)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        call(telegram, "sendMessage", chat_id=43, text="x")
    telegram.heal()
    telegram.outage(60)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        call(telegram, "getMe")


def test_only_named_chats_exist_when_asked(telegram: Telegram) -> None:
    telegram.chats(1, (-5, "group"))
    assert call(telegram, "sendMessage", chat_id=-5, text="x")["ok"] is True
    assert call(telegram, "sendMessage", chat_id=2, text="x")["description"] == "Bad Request: chat not found"


def test_waiting_in_vain_says_what_there_is(telegram: Telegram) -> None:
    call(telegram, "sendMessage", chat_id=1, text="only")
    with pytest.raises(AssertionError, match=r"1 of 2 messages after 0\.05 s: \['only'\]"):
        telegram.wait_for(2, timeout=0.05)


def test_every_test_gets_a_telegram_of_its_own(telegram: Telegram) -> None:
    assert telegram.sent() == []


def test_loading_the_plugin_loads_nothing_else() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import kurir.simulator.pytest_plugin;"
        "print([name for name in set(sys.modules) - before if name in ('aiohttp', 'orjson', 'asyncio')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
