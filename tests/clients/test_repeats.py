"""A client that loses patience and asks the same again does not double its message."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kurir.simulator.harness import Telegram

from .bots.telling import CHATS
from .scripts import NODE, python, running
from .serving import Gateway, gateway_to

TRIES = 5
IMPATIENT = aiohttp.ClientTimeout(total=1.0)
CHAT = CHATS["text"]
OTHER = CHATS["menu"]
SLOW = 3.4  # seconds: the fourth try has its answer, or the fifth on a busy machine
PICTURE = bytes(range(256)) * 100

Body = Callable[[], Any]
Trouble = Callable[[Telegram, Gateway], None]


def text() -> Any:
    return {"chat_id": str(CHAT), "text": "only once"}


def picture() -> Any:
    form = aiohttp.FormData({"chat_id": str(CHAT), "caption": "only once"})
    form.add_field("photo", PICTURE, filename="picture.jpg", content_type="image/jpeg")
    return form


def slow(telegram: Telegram, _: Gateway) -> None:
    telegram.fail("slow", method="sendMessage", seconds=SLOW)
    telegram.fail("slow", method="sendPhoto", seconds=SLOW)


def away(telegram: Telegram, gateway: Gateway) -> None:
    """Kurir has found out half a second ago, so that its probes do not fall together with the clients' time-outs: who
    leaves in the millisecond in which the answer comes may have read it, and looks like one who sends the same twice."""
    telegram.outage(2.5)
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(f"{gateway.url}/bot{gateway.token}/sendMessage?chat_id={OTHER}&text=first", timeout=0.5)


@pytest.mark.parametrize("trouble", [slow, away])
@pytest.mark.parametrize(("method", "body"), [("sendMessage", text), ("sendPhoto", picture)])
async def test_a_client_that_repeats_its_call_every_second_has_one_message_and_its_answer(
    method: str, body: Body, trouble: Trouble, telegram: Telegram, gateway: Gateway
) -> None:
    await asyncio.to_thread(trouble, telegram, gateway)
    answer, tries = await _insist(f"{gateway.url}/bot{gateway.token}/{method}", body)
    telegram.heal()
    assert 1 < tries <= TRIES
    (message,) = telegram.sent(CHAT)
    assert answer["result"]["message_id"] == message.id
    await _assert_alone(telegram)


async def test_a_client_that_gave_up_after_five_tries_and_comes_back_has_the_answer_to_its_first_one(
    telegram: Telegram, gateway: Gateway
) -> None:
    telegram.fail("slow", seconds=TRIES + 1.0)
    url = f"{gateway.url}/bot{gateway.token}/sendMessage"
    with pytest.raises(TimeoutError):
        await _insist(url, text)
    telegram.heal()
    async with aiohttp.ClientSession() as session, session.post(url, data=text()) as response:
        answer = await response.json()
    (message,) = telegram.sent(CHAT)
    assert answer["result"]["message_id"] == message.id
    await _assert_alone(telegram)


@pytest.mark.parametrize("trouble", [slow, away])
def test_pytelegrambotapi_that_repeats_its_call_by_itself_has_one_message_and_its_answer(
    trouble: Trouble, telegram: Telegram, gateway: Gateway, tmp_path: Path
) -> None:
    trouble(telegram, gateway)
    _assert_one(telegram, python("telebot_insists"), gateway, tmp_path)


def test_a_python_telegram_bot_that_sends_again_after_its_timeout_has_one_message(
    telegram: Telegram, gateway: Gateway, tmp_path: Path
) -> None:
    telegram.fail("slow", method="sendMessage", seconds=6.5)  # it waits for 5 s
    _assert_one(telegram, python("ptb_insists"), gateway, tmp_path)


def test_a_node_telegram_bot_api_that_repeats_what_kurir_could_not_answer_in_time_has_one_message(
    telegram: Telegram, node: str, tmp_path: Path
) -> None:
    telegram.fail("slow", method="sendMessage", seconds=2.5)
    with gateway_to(telegram, tmp_path, "wait = 1\n") as gateway:
        _assert_one(telegram, [node, str(NODE / "ntba_insists.mjs")], gateway, tmp_path)


def _assert_one(telegram: Telegram, command: Sequence[str], gateway: Gateway, folder: Path) -> None:
    """The script's step "text" has its answer, and there is one message."""
    with running(command, gateway, folder) as script:
        told = script.until("text", timeout=15)
        script.ends()
    telegram.heal()
    assert "result" in told, told
    assert [{"id": message.id} for message in telegram.sent(CHAT)] == [told["result"]]
    assert len([call for call in telegram.calls("sendMessage") if call.chat == CHAT]) == 1


async def test_a_client_that_has_its_answer_and_sends_the_same_again_has_two_messages(
    telegram: Telegram, gateway: Gateway
) -> None:
    url = f"{gateway.url}/bot{gateway.token}/sendMessage"
    async with aiohttp.ClientSession() as session:
        ids = []
        for _ in range(2):
            async with session.post(url, data=text()) as response:
                ids.append((await response.json())["result"]["message_id"])
    assert [message.id for message in telegram.sent(CHAT)] == ids


async def _insist(url: str, body: Body) -> tuple[Any, int]:
    """Ask until there is an answer: it, and the number of tries. Raises TimeoutError where none of them has one."""
    async with aiohttp.ClientSession(timeout=IMPATIENT) as session:
        for number in range(1, TRIES + 1):
            try:
                async with session.post(url, data=body()) as response:
                    return await response.json(), number
            except TimeoutError:
                pass
    raise TimeoutError(f"no answer in {TRIES} tries")


async def _assert_alone(telegram: Telegram) -> None:
    """What is still to come would come now."""
    await asyncio.sleep(0.5)
    assert len(telegram.sent(CHAT)) == 1
