"""A client that got no answer and asks the same again joins its first request; two live clients stay two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from kurir.ports import SystemClock
from kurir.simulator.harness import Telegram

from .helpers import Door, envelope, opened

CHAT = 7
MARKUP = {"inline_keyboard": [[{"text": "Press", "callback_data": "1"}]]}
HELLO: dict[str, Any] = {"chat_id": CHAT, "text": "hello", "disable_notification": True, "reply_markup": MARKUP}
AS_TEXT = {name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in HELLO.items()}
PICTURE = bytes(range(256)) * 100

Http = Callable[[], dict[str, Any]]


class Clock(SystemClock):
    """The machine's, and as much later as a test says."""

    later = 0.0  # seconds

    def now(self) -> float:
        return time.time() + self.later


def form(fields: dict[str, Any], boundary: str | None = None, **files: bytes) -> aiohttp.MultipartWriter:
    writer = aiohttp.MultipartWriter("form-data", boundary)
    for name, value in fields.items():
        writer.append(str(value)).set_content_disposition("form-data", name=name)
    for name, content in files.items():
        part = writer.append(BytesIO(content), {"Content-Type": "image/jpeg"})
        part.set_content_disposition("form-data", name=name, filename=f"{name}.jpg")
    return writer


def slow(telegram: Telegram, seconds: float = 0.3) -> None:
    """The next send takes its time, so that a client can leave before."""
    telegram.fail("slow", seconds=seconds, times=1, chat=CHAT)


REPEATS: dict[str, tuple[Http, Http]] = {
    "the same": (lambda: {"json": HELLO}, lambda: {"json": HELLO}),
    "another order": (lambda: {"json": HELLO}, lambda: {"json": dict(reversed(HELLO.items()))}),
    "numbers as text": (lambda: {"json": HELLO}, lambda: {"json": {**HELLO, "chat_id": str(CHAT)}}),
    "text as numbers": (lambda: {"json": {**HELLO, "text": "5"}}, lambda: {"json": {**HELLO, "text": 5}}),
    "JSON, then a form": (lambda: {"json": HELLO}, lambda: {"data": AS_TEXT}),
    "a form, then JSON": (lambda: {"data": AS_TEXT}, lambda: {"json": HELLO}),
    "JSON, then a query": (lambda: {"json": HELLO}, lambda: {"params": AS_TEXT, "verb": "GET"}),
    "JSON, then multipart": (lambda: {"json": HELLO}, lambda: {"data": form(AS_TEXT)}),
    "nulls or nothing": (lambda: {"json": HELLO}, lambda: {"json": {**HELLO, "caption": None}}),
    "another case": (lambda: {"json": HELLO}, lambda: {"json": HELLO, "method": "SENDMESSAGE"}),
}


async def test_who_hung_up_and_asks_the_same_again_gets_the_answer_of_the_first(door: Door) -> None:
    for number, (repeat, (first, second)) in enumerate(REPEATS.items(), 1):
        slow(door.telegram)
        await door.leave(door.ask("sendMessage", **first()))
        again = second()
        answer = await door.ask(again.pop("method", "sendMessage"), **again)
        messages = door.telegram.sent(CHAT)
        assert (repeat, len(messages)) == (repeat, number)
        assert answer.result["message_id"] == messages[-1].id
        assert answer.message == (await door.records())[-1].id


async def test_the_same_bytes_are_the_same_file_whatever_the_boundary(door: Door) -> None:
    slow(door.telegram)
    caption = {"chat_id": CHAT, "caption": "only once"}
    await door.leave(door.ask("sendPhoto", data=form(caption, "one", photo=PICTURE)))
    answer = await door.ask("sendPhoto", data=form(caption, "another", photo=PICTURE))
    (message,) = door.telegram.sent(CHAT)
    assert answer.result["message_id"] == message.id


async def test_other_bytes_are_another_message(door: Door) -> None:
    slow(door.telegram)
    caption = {"chat_id": CHAT, "caption": "hi"}
    await door.leave(door.ask("sendPhoto", data=form(caption, photo=PICTURE)))
    assert (await door.ask("sendPhoto", data=form(caption, photo=PICTURE[::-1]))).status == 200
    assert len(door.telegram.sent(CHAT)) == 2


async def test_an_album_is_joined_too(door: Door) -> None:
    slow(door.telegram)
    media = [{"type": "photo", "media": f"attach://{name}"} for name in ("a", "b")]
    fields = {"chat_id": CHAT, "media": orjson.dumps(media).decode()}
    await door.leave(door.ask("sendMediaGroup", data=form(fields, a=PICTURE, b=PICTURE[::-1])))
    spaced = {**fields, "media": orjson.dumps(media, option=orjson.OPT_INDENT_2).decode()}
    answer = await door.ask("sendMediaGroup", data=form(spaced, b=PICTURE[::-1], a=PICTURE))
    assert len(answer.result) == len(door.telegram.sent(CHAT)) == 2


OTHERS = ({"text": "hello!"}, {"chat_id": CHAT + 1}, {"disable_notification": False}, {"message_thread_id": 0})


async def test_another_request_is_another_message(door: Door) -> None:
    slow(door.telegram)
    await door.leave(door.ask("sendMessage", HELLO))
    answers = await asyncio.gather(*(door.ask("sendMessage", {**HELLO, **other}) for other in OTHERS))
    assert [answer.status for answer in answers] == [200] * 4
    assert len({answer.message for answer in answers}) == 4
    assert len(door.telegram.sent()) == 5


async def test_who_was_told_504_and_asks_again_gets_the_answer_of_the_first(door: Door) -> None:
    slow(door.telegram, 1.3)
    late = await door.ask("sendMessage", HELLO, prefer="wait=1")
    assert late.status == 504
    answer = await door.ask("sendMessage", HELLO)
    assert answer.message == late.message
    assert len(door.telegram.sent(CHAT)) == 1


async def test_who_was_told_504_twice_may_ask_a_third_time(door: Door) -> None:
    slow(door.telegram, 1.2)
    answers = [await door.ask("sendMessage", HELLO, prefer="wait=0") for _ in range(3)]
    assert [answer.status for answer in answers] == [504] * 3
    assert len({answer.message for answer in answers}) == 1
    assert (await door.ask("sendMessage", HELLO)).message == answers[0].message
    assert len(door.telegram.sent(CHAT)) == 1


async def test_the_answer_of_the_first_is_given_also_when_it_was_delivered_meanwhile(door: Door) -> None:
    slow(door.telegram, 0.3)
    await door.leave(door.ask("sendMessage", HELLO))
    (message,) = await asyncio.to_thread(door.telegram.wait_for, 1, CHAT)
    await asyncio.sleep(0.4)
    answer = await door.ask("sendMessage", HELLO)
    assert answer.result["message_id"] == message.id
    assert len(door.telegram.sent(CHAT)) == 1


async def test_a_refusal_of_the_first_is_given_to_the_second(door: Door) -> None:
    slow(door.telegram)
    broken = {"chat_id": CHAT, "text": "<b>", "parse_mode": "HTML"}
    await door.leave(door.ask("sendMessage", broken))
    assert (await door.ask("sendMessage", broken)).status == 400
    assert len(door.telegram.calls("sendMessage")) == 1


async def test_who_has_its_answer_and_sends_the_same_again_has_two_messages(door: Door) -> None:
    slow(door.telegram)
    await door.leave(door.ask("sendMessage", HELLO))
    for _ in range(2):
        assert (await door.ask("sendMessage", HELLO)).status == 200
    assert len(door.telegram.sent(CHAT)) == 2


async def test_a_client_with_a_second_of_patience_that_asks_five_times_has_one_message(door: Door) -> None:
    slow(door.telegram, 1.8)
    timeout = aiohttp.ClientTimeout(total=0.5)
    answers = []
    async with aiohttp.ClientSession(timeout=timeout) as impatient:
        for _ in range(5):
            try:
                async with impatient.post(door.at("sendMessage"), json=HELLO) as response:
                    answers.append(await envelope(response))
                    break
            except TimeoutError:
                continue
    (message,) = door.telegram.sent(CHAT)
    assert [answer.result["message_id"] for answer in answers] == [message.id]
    assert len(await door.records()) == 1


async def test_two_live_clients_with_the_same_text_have_two_messages(door: Door) -> None:
    slow(door.telegram, 0.3)
    answers = await asyncio.gather(*(door.ask("sendMessage", HELLO) for _ in range(2)))
    assert len({answer.result["message_id"] for answer in answers}) == 2
    assert len(door.telegram.sent(CHAT)) == 2


async def test_of_three_twins_of_which_one_left_a_fourth_joins_that_one(door: Door) -> None:
    door.telegram.fail("slow", seconds=0.4, chat=CHAT)
    staying = [asyncio.ensure_future(door.ask("sendMessage", HELLO)) for _ in range(2)]
    await door.leave(door.ask("sendMessage", HELLO))
    again = await door.ask("sendMessage", HELLO)
    others = await asyncio.gather(*staying)
    ids = {answer.result["message_id"] for answer in (again, *others)}
    assert len(ids) == 3
    assert len(door.telegram.sent(CHAT)) == 3


async def test_after_two_minutes_it_is_a_new_message(telegram: Telegram, tmp_path: Path) -> None:
    clock = Clock()
    telegram.outage(60)
    async with opened(telegram, tmp_path, clock=clock) as door:
        for text, passed, messages in (("at once", 119.0, 1), ("too late", 121.0, 2)):
            asked = {"chat_id": CHAT, "text": text}
            await door.ask("sendMessage", asked, prefer="wait=0")
            clock.later += passed
            assert (await door.ask("sendMessage", asked, prefer="wait=0")).status == 504
            assert len(await door.records()) == messages + (text == "too late")


async def test_who_waited_longer_than_two_minutes_and_asks_at_once_joins(telegram: Telegram, tmp_path: Path) -> None:
    clock = Clock()
    telegram.outage(60)
    async with opened(telegram, tmp_path, clock=clock) as door:
        asking = asyncio.ensure_future(door.ask("sendMessage", HELLO, prefer="wait=600"))
        await asyncio.sleep(0.2)
        clock.later += 300.0
        asking.cancel()
        await asyncio.sleep(0.1)
        assert (await door.ask("sendMessage", HELLO, prefer="wait=0")).status == 504
        assert len(await door.records()) == 1


async def test_after_a_restart_the_repeat_joins_what_still_waits(telegram: Telegram, tmp_path: Path) -> None:
    telegram.outage(60)
    photo = {"chat_id": CHAT, "caption": "only once"}
    async with opened(telegram, tmp_path) as door:
        await door.leave(door.ask("sendMessage", HELLO))
        await door.leave(door.ask("sendPhoto", data=form(photo, photo=PICTURE)))
    telegram.heal()
    telegram.fail("slow", seconds=0.3)
    async with opened(telegram, tmp_path) as door:
        answers = await asyncio.gather(
            door.ask("sendMessage", data=AS_TEXT), door.ask("sendPhoto", data=form(photo, photo=PICTURE))
        )
        assert [answer.status for answer in answers] == [200, 200]
        assert len(await door.records()) == 2
    assert len(telegram.sent(CHAT)) == 2


async def test_a_state_that_is_set_again_after_another_one_is_set_again(door: Door) -> None:
    sent = (await door.send(CHAT, "0")).result["message_id"]
    door.telegram.fail("slow", seconds=0.3, method="editMessageText", times=1)
    one, other = ({"chat_id": CHAT, "message_id": sent, "text": text} for text in ("one", "other"))
    await door.leave(door.ask("editMessageText", one))
    for edit in (other, one):
        assert (await door.ask("editMessageText", edit)).result["text"] == edit["text"]
    assert door.telegram.texts(CHAT) == ["one"]


# ---------------------------------------------------------------- respond-async and keys


async def test_twins_that_do_not_wait_stay_two(door: Door) -> None:
    door.telegram.outage(60)
    answers = [await door.ask("sendMessage", HELLO, prefer="respond-async") for _ in range(2)]
    assert len({answer.result["message_id"] for answer in answers}) == 2
    door.telegram.heal()
    await door.texts(2, CHAT)


async def test_who_waits_does_not_join_one_that_was_answered_with_a_stand_in(door: Door) -> None:
    door.telegram.outage(60)
    await door.ask("sendMessage", HELLO, prefer="respond-async")
    late = asyncio.ensure_future(door.ask("sendMessage", HELLO))
    await asyncio.sleep(0.2)
    door.telegram.heal()
    assert (await late).status == 200
    await door.texts(2, CHAT)


async def test_who_hung_up_before_its_stand_in_joins_too(door: Door) -> None:
    slow(door.telegram)
    await door.leave(door.ask("sendMessage", HELLO, prefer="respond-async, wait=5"))
    answer = await door.ask("sendMessage", HELLO, prefer="respond-async, wait=5")
    (message,) = door.telegram.sent(CHAT)
    assert answer.result["message_id"] == message.id


async def test_who_was_told_504_may_go_on_with_a_stand_in(door: Door) -> None:
    door.telegram.outage(60)
    late = await door.ask("sendMessage", HELLO, prefer="wait=0")
    promised = await door.ask("sendMessage", HELLO, prefer="respond-async")
    assert promised.message == late.message
    edit = {"chat_id": CHAT, "message_id": promised.result["message_id"], "text": "edited"}
    await door.ask("editMessageText", edit, prefer="respond-async")
    assert (await door.ask("sendMessage", HELLO, prefer="respond-async")).message != late.message
    door.telegram.heal()
    assert len(await door.texts(2, CHAT)) == 2


async def test_a_key_makes_a_repeat_the_same_message_also_after_its_delivery(door: Door) -> None:
    key = {"Idempotency-Key": "order-42"}
    first = await door.ask("sendMessage", HELLO, headers=key)
    second = await door.ask("sendMessage", HELLO, headers=key)
    assert first.result == second.result
    assert first.message == second.message
    assert len(door.telegram.sent(CHAT)) == 1
    async_ = await door.ask("sendMessage", HELLO, headers=key, prefer="respond-async")
    assert async_.result == first.result


async def test_a_key_makes_two_at_once_one_message(door: Door) -> None:
    slow(door.telegram, 0.3)
    key = {"Idempotency-Key": '"order-42"'}
    answers = await asyncio.gather(*(door.ask("sendMessage", HELLO, headers=key) for _ in range(5)))
    assert len({answer.result["message_id"] for answer in answers}) == 1
    assert len(door.telegram.sent(CHAT)) == 1


async def test_a_key_with_another_body_is_a_conflict(door: Door) -> None:
    key = {"Idempotency-Key": "order-42"}
    first = await door.ask("sendMessage", HELLO, headers=key)
    code, words = (await door.ask("sendMessage", {**HELLO, "text": "other"}, headers=key)).refusal
    assert code == 409
    assert words.startswith("Conflict: ")
    assert "order-42" in words
    assert first.message in words
    assert len(door.telegram.sent(CHAT)) == 1


async def test_a_key_with_a_file_knows_it_by_its_bytes(door: Door) -> None:
    key = {"Idempotency-Key": "photo-1"}
    photo = {"chat_id": CHAT, "caption": "hi"}
    first = await door.ask("sendPhoto", data=form(photo, photo=PICTURE), headers=key)
    assert (await door.ask("sendPhoto", data=form(photo, photo=PICTURE), headers=key)).result == first.result
    assert (await door.ask("sendPhoto", data=form(photo, photo=PICTURE[::-1]), headers=key)).status == 409


async def test_a_key_of_an_edit_works_too(door: Door) -> None:
    sent = (await door.send(CHAT, "before")).result["message_id"]
    edit = {"chat_id": CHAT, "message_id": sent, "text": "after"}
    for _ in range(2):
        edited = await door.ask("editMessageText", edit, headers={"Idempotency-Key": "edit-1"})
        assert edited.result["text"] == "after"


async def test_a_key_that_is_none_is_refused(door: Door) -> None:
    for key in ("", '""', "x" * 300):
        answer = await door.ask("sendMessage", HELLO, headers={"Idempotency-Key": key})
        assert answer.status == 400
        assert "idempotency_key" in answer.refusal[1]
    assert not await door.records()


async def test_after_a_refusal_the_same_key_gives_the_same_refusal(door: Door) -> None:
    key = {"Idempotency-Key": "broken-1"}
    broken = {"chat_id": CHAT, "text": "<b>", "parse_mode": "HTML"}
    refusals = {(await door.ask("sendMessage", broken, headers=key)).refusal for _ in range(2)}
    assert len(refusals) == 1
    assert len(door.telegram.calls("sendMessage")) == 1
