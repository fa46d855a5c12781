"""Calls that name a message which has not been sent yet wait for it, and then name it by its real id."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from kurir import Settings
from kurir.settings import make_bot
from kurir.simulator.harness import Telegram
from kurir.simulator.model import Message

from .helpers import Answered, Door, opened

CHAT, OTHER = 7, 8
ASYNC = "respond-async"
AWAY = 60.0  # seconds; each test ends the outage itself
NEWS = -1007777777777
PHOTO = "https://example.org/a.jpg"


async def promise(door: Door, chat: int | str, text: str, **more: Any) -> int:
    """Send, and get a placeholder."""
    id: int = (await door.send(chat, text, prefer=ASYNC, **more)).result["message_id"]
    assert id < 0
    return id


async def ask_async(door: Door, method: str, **params: Any) -> Any:
    return (await door.ask(method, params, prefer=ASYNC)).result


async def sent(door: Door, count: int, chat: int) -> list[Message]:
    return await asyncio.to_thread(door.telegram.wait_for, count, chat, 10.0)


def replied_to(message: Message) -> Any:
    return message.json.get("reply_to_message", {}).get("message_id")


@pytest.fixture
def away(telegram: Telegram) -> Telegram:
    """Out of reach until `heal`."""
    telegram.outage(AWAY)
    return telegram


@pytest.fixture
def busy(telegram: Telegram) -> Telegram:
    """What is sent first takes its time, and all else waits behind it."""
    for method in ("sendMessage", "sendMediaGroup"):
        telegram.fail("slow", seconds=0.3, method=method, times=1)
    return telegram


# ---------------------------------------------------------------- what can refer to one


async def test_in_an_outage_all_waits_and_then_names_the_message_by_its_real_id(away: Telegram, door: Door) -> None:
    first = await promise(door, CHAT, "first")
    await ask_async(door, "editMessageText", chat_id=CHAT, message_id=first, text="first, edited")
    await promise(door, CHAT, "a", reply_parameters={"message_id": first})
    await promise(door, CHAT, "b", reply_parameters=orjson.dumps({"message_id": first}).decode())
    await promise(door, CHAT, "c", reply_to_message_id=str(first))
    assert await ask_async(door, "pinChatMessage", chat_id=CHAT, message_id=first) is True
    copy = await ask_async(door, "copyMessage", chat_id=OTHER, from_chat_id=CHAT, message_id=first)
    assert copy["message_id"] < 0
    await ask_async(door, "forwardMessage", chat_id=OTHER, from_chat_id=str(CHAT), message_id=str(first))
    assert away.calls() == []
    away.heal()
    root, *replies = await sent(door, 4, CHAT)
    assert [reply.text for reply in replies] == ["a", "b", "c"]
    assert [replied_to(reply) for reply in replies] == [root.id] * 3
    assert len(await sent(door, 2, OTHER)) == 2
    await _all_delivered(door)
    assert away.texts(CHAT)[0] == "first, edited"
    assert away.do(lambda world: world.chat(CHAT).pinned) == [root.id]
    assert {call.verb.value for call in away.calls()} <= {"sent", "edited", "done"}


async def _all_delivered(door: Door) -> None:
    for record in await door.records():
        end = await door.kurir.end(record.id, 10)
        assert end.state.value == "delivered", (record.method, end)


async def test_deletions_in_an_outage_delete_what_was_sent(away: Telegram, door: Door) -> None:
    ids = [await promise(door, CHAT, text) for text in ("keep", "one", "two", "three")]
    assert await ask_async(door, "deleteMessage", chat_id=CHAT, message_id=ids[1]) is True
    assert await ask_async(door, "deleteMessages", chat_id=CHAT, message_ids=ids[2:]) is True
    away.heal()
    await _all_delivered(door)
    assert away.texts(CHAT) == ["keep"]
    assert len(away.calls("sendMessage")) == 4


async def test_several_are_copied_from_where_they_will_be(busy: Telegram, door: Door) -> None:
    ids = [await promise(door, CHAT, text) for text in ("one", "two")]
    as_text = orjson.dumps(ids).decode()
    copies = await ask_async(door, "copyMessages", chat_id=OTHER, from_chat_id=CHAT, message_ids=as_text)
    assert len(copies) == 2
    assert await door.texts(2, OTHER) == ["one", "two"]


async def test_a_chain_of_placeholders_comes_out_in_order(busy: Telegram, door: Door) -> None:
    last = await promise(door, CHAT, "0")
    for number in range(1, 5):
        last = await promise(door, CHAT, str(number), reply_parameters={"message_id": last})
    messages = await sent(door, 5, CHAT)
    assert [message.text for message in messages] == ["0", "1", "2", "3", "4"]
    assert [replied_to(message) for message in messages] == [None, *[message.id for message in messages[:-1]]]


async def test_an_item_of_an_album_has_a_placeholder_of_its_own(busy: Telegram, door: Door) -> None:
    media = [{"type": "photo", "media": PHOTO, "caption": text} for text in ("one", "two", "three")]
    album = await ask_async(door, "sendMediaGroup", chat_id=CHAT, media=media)
    edit = {"chat_id": CHAT, "message_id": album[1]["message_id"], "caption": "TWO"}
    await ask_async(door, "editMessageCaption", **edit)
    await _all_delivered(door)
    assert busy.texts(CHAT) == ["one", "TWO", "three"]


async def test_a_copys_placeholder_can_be_edited(busy: Telegram, door: Door) -> None:
    first = await promise(door, CHAT, "first")
    copy = await ask_async(door, "copyMessage", chat_id=OTHER, from_chat_id=CHAT, message_id=first)
    await ask_async(door, "editMessageText", chat_id=OTHER, message_id=copy["message_id"], text="copy, edited")
    await _all_delivered(door)
    assert busy.texts(OTHER) == ["copy, edited"]


async def test_the_last_of_many_edits_of_a_placeholder_is_what_stays(busy: Telegram, door: Door) -> None:
    first = await promise(door, CHAT, "0")
    for number in range(1, 6):
        await ask_async(door, "editMessageText", chat_id=CHAT, message_id=first, text=str(number))
    await _all_delivered(door)
    assert busy.texts(CHAT) == ["5"]
    assert len(busy.calls("editMessageText")) == 1


async def test_a_placeholder_names_the_message_also_after_it_was_sent(door: Door) -> None:
    first = await promise(door, CHAT, "first")
    (message,) = await sent(door, 1, CHAT)
    edited = await door.ask("editMessageText", {"chat_id": CHAT, "message_id": first, "text": "edited"})
    assert (edited.result["message_id"], edited.result["text"]) == (message.id, "edited")
    assert (await door.ask("deleteMessage", {"chat_id": CHAT, "message_id": first})).result is True
    assert door.telegram.texts(CHAT) == []


async def test_a_client_that_waits_for_its_edit_has_it_when_the_message_was_sent(door: Door) -> None:
    door.telegram.fail("slow", seconds=0.5, method="sendMessage", times=1)
    first = await promise(door, CHAT, "first")
    edited = await door.ask("editMessageText", {"chat_id": CHAT, "message_id": first, "text": "edited"})
    assert edited.result["message_id"] > 0
    assert edited.result["text"] == "edited"


async def test_what_waits_for_one_message_leaves_in_the_order_it_was_accepted(busy: Telegram, door: Door) -> None:
    busy.fail(
        "status_json", status=429, description="Too Many Requests: retry after 1", retry_after=1, times=1, chat=CHAT
    )
    first = await promise(door, CHAT, "first")
    for number in range(6):
        await ask_async(door, "forwardMessage", chat_id=OTHER, from_chat_id=CHAT, message_id=first)
        await promise(door, OTHER, str(number), reply_parameters={"message_id": first, "chat_id": CHAT})
        await asyncio.sleep(0.1)
    texts = await door.texts(12, OTHER)
    assert texts == [text for number in range(6) for text in ("first", str(number))]


async def test_real_ids_and_placeholders_may_stand_in_one_list(door: Door) -> None:
    real = (await door.send(CHAT, "real")).result["message_id"]
    for spelling in ([real, 0], "[{}, {}]"):
        promised = await promise(door, CHAT, "promised")
        ids = [real, promised] if isinstance(spelling, list) else spelling.format(real, promised)
        assert (await door.ask("deleteMessages", {"chat_id": CHAT, "message_ids": ids})).result is True
        assert door.telegram.texts(CHAT) == []


async def test_of_copies_that_telegram_left_some_out_no_placeholder_names_another(door: Door) -> None:
    ids = [(await door.send(CHAT, text)).result["message_id"] for text in "abc"]
    await door.ask("deleteMessage", {"chat_id": CHAT, "message_id": ids[1]})
    copies = {"chat_id": OTHER, "from_chat_id": CHAT, "message_ids": ids}
    promised = (await door.ask("copyMessages", copies, prefer=ASYNC)).result
    assert await door.texts(2, OTHER) == ["a", "c"]
    await door.ask("deleteMessage", {"chat_id": OTHER, "message_id": promised[1]["message_id"]})
    assert door.telegram.texts(OTHER) == ["a", "c"]


async def test_an_urgent_call_waits_for_the_message_it_names(away: Telegram, door: Door) -> None:
    first = await promise(door, CHAT, "first")
    urgent = {"chat_id": CHAT, "message_id": first, "text": "edited"}
    await door.ask("editMessageText", urgent, prefer=ASYNC, headers={"Kurir-Priority": "critical"})
    reply = {"chat_id": CHAT, "text": "reply", "reply_parameters": {"message_id": first}}
    await door.ask("sendMessage", reply, prefer=ASYNC, headers={"Kurir-Priority": "critical"})
    away.heal()
    await _all_delivered(door)
    assert sorted(away.texts(CHAT)) == ["edited", "reply"]
    assert away.calls()[0].mark == "first"


async def test_a_priority_that_is_none_is_refused(door: Door) -> None:
    answer = await door.send(CHAT, "hi", headers={"Kurir-Priority": "soonish"})
    assert answer.status == 400
    assert "priority" in answer.refusal[1]


# ---------------------------------------------------------------- public chats


@pytest.fixture
def news(telegram: Telegram) -> str:
    """A channel that clients know by its name."""
    telegram.do(lambda world: world.add_chat(NEWS, "channel", "News", username="news"))
    return "@news"


async def test_what_was_sent_to_a_name_is_found_by_the_chat_of_its_stand_in(
    news: str, away: Telegram, door: Door
) -> None:
    first = (await door.send(news, "first", prefer=ASYNC)).result
    second = (await door.send(news, "second", prefer=ASYNC)).result
    where = first["chat"]["id"]
    assert where == 0
    await ask_async(door, "editMessageText", chat_id=where, message_id=first["message_id"], text="edited")
    forward = {"chat_id": OTHER, "from_chat_id": where, "message_id": first["message_id"]}
    await ask_async(door, "forwardMessage", **forward)
    await ask_async(door, "deleteMessage", chat_id=where, message_id=second["message_id"])
    away.heal()
    await _all_delivered(door)
    assert away.texts(NEWS) == ["edited"]
    assert len(away.sent(OTHER)) == 1


async def test_a_reply_finds_the_chat_of_a_stand_in_too(news: str, busy: Telegram, door: Door) -> None:
    first = (await door.send(news, "first", prefer=ASYNC)).result
    for reference in ({}, {"chat_id": 0}, {"chat_id": "0"}):
        reply = {"message_id": first["message_id"], **reference}
        await door.ask("sendMessage", {"chat_id": 0, "text": "reply", "reply_parameters": reply}, prefer=ASYNC)
    root, *answers = await sent(door, 4, NEWS)
    assert [replied_to(answer) for answer in answers] == [root.id] * 3


# ---------------------------------------------------------------- messages that never come


async def refused_send(door: Door, chat: int = CHAT) -> int:
    """The placeholder of a message that Telegram will refuse."""
    return await promise(door, chat, "<b>never closed", parse_mode="HTML")


async def dependents(door: Door, dead: int) -> dict[str, Answered]:
    """What becomes of calls that name it, by name."""
    reply = {"chat_id": CHAT, "text": "reply", "reply_parameters": {"message_id": dead}}
    alone = {"message_id": dead, "allow_sending_without_reply": True}
    calls = {
        "edit": ("editMessageText", {"chat_id": CHAT, "message_id": dead, "text": "x"}),
        "delete": ("deleteMessage", {"chat_id": CHAT, "message_id": dead}),
        "delete all": ("deleteMessages", {"chat_id": CHAT, "message_ids": [dead]}),
        "pin": ("pinChatMessage", {"chat_id": CHAT, "message_id": dead}),
        "copy": ("copyMessage", {"chat_id": OTHER, "from_chat_id": CHAT, "message_id": dead}),
        "reply": ("sendMessage", reply),
        "reply alone": ("sendMessage", {**reply, "text": "alone", "reply_parameters": alone}),
        "reply as text": ("sendMessage", {**reply, "text": "text", "reply_parameters": orjson.dumps(alone).decode()}),
        "old reply": ("sendMessage", {"chat_id": CHAT, "text": "old", "reply_to_message_id": dead}),
        "old reply alone": (
            "sendMessage",
            {"chat_id": CHAT, "text": "old alone", "reply_to_message_id": dead, "allow_sending_without_reply": "true"},
        ),
    }
    answers = await asyncio.gather(*(door.ask(method, params) for method, params in calls.values()))
    return dict(zip(calls, answers, strict=True))


def assert_ended_without(answers: dict[str, Answered], texts: list[str]) -> None:
    for name in ("edit", "pin", "copy", "reply", "old reply"):
        code, words = answers[name].refusal
        assert (name, code) == (name, 400)
        assert words.startswith("Bad Request: ")
    for name in ("delete", "delete all"):
        assert answers[name].result is True
    assert sorted(texts) == ["alone", "old alone", "text"]


async def test_calls_that_name_a_message_which_dies_later_end_with_it(away: Telegram, door: Door) -> None:
    dead = await refused_send(door)
    waiting = asyncio.ensure_future(dependents(door, dead))
    await asyncio.sleep(0.3)
    away.heal()
    assert_ended_without(await waiting, away.texts(CHAT))


async def test_calls_that_name_a_dead_message_end_at_once(door: Door) -> None:
    dead = await refused_send(door)
    (record,) = await door.records()
    await door.kurir.end(record.id, 5)
    assert_ended_without(await dependents(door, dead), door.telegram.texts(CHAT))


async def test_of_a_list_what_was_never_sent_is_left_out(door: Door) -> None:
    dead, alive = await refused_send(door), await promise(door, CHAT, "alive")
    copies = {"chat_id": OTHER, "from_chat_id": CHAT, "message_ids": [dead, alive]}
    assert len((await door.ask("copyMessages", copies)).result) == 1
    assert door.telegram.texts(OTHER) == ["alive"]
    assert (await door.ask("deleteMessages", {"chat_id": CHAT, "message_ids": [dead, alive]})).result is True
    assert door.telegram.texts(CHAT) == []


async def test_a_placeholder_that_nobody_gave_is_refused_in_telegrams_words(door: Door) -> None:
    for method, words in (
        ("editMessageText", "message to edit not found"),
        ("deleteMessage", "message to delete not found"),
        ("pinChatMessage", "message to pin not found"),
        ("copyMessage", "message to copy not found"),
        ("forwardMessage", "message to forward not found"),
    ):
        for id in (-999990, "-999990"):
            params = {"chat_id": CHAT, "from_chat_id": CHAT, "message_id": id, "text": "x"}
            assert (await door.ask(method, params)).refusal == (400, f"Bad Request: {words}")
    assert not await door.records()


async def test_a_reply_to_a_placeholder_that_nobody_gave_is_refused_or_goes_alone(door: Door) -> None:
    refused = await door.send(CHAT, "reply", reply_parameters={"message_id": -999990})
    assert refused.refusal == (400, "Bad Request: message to be replied not found")
    lenient = {"message_id": -999990, "allow_sending_without_reply": True}
    assert (await door.send(CHAT, "alone", reply_parameters=lenient)).result["text"] == "alone"


async def test_what_is_no_placeholder_is_for_telegram_to_judge(door: Door) -> None:
    for id in (0, -1, -9, "-5", True, 1.5, "abc", None, [], {}, "-" + "9" * 40):
        answer = await door.ask("editMessageText", {"chat_id": CHAT, "message_id": id, "text": "x"}, prefer="wait=2")
        assert (id, answer.status) == (id, 400)
        assert answer.refusal[1].startswith("Bad Request: message")


async def test_another_bots_placeholder_is_none(telegram: Telegram, tmp_path: Path) -> None:
    theirs = "654321:another-simulated-bots-token-000000"
    telegram.do(lambda world: world.add_bot(theirs))
    bots = (make_bot("ours", telegram.token), make_bot("theirs", theirs))
    async with opened(telegram, tmp_path, settings=Settings(bots=bots)) as door:
        id = await promise(door, CHAT, "ours")
        edit = {"chat_id": CHAT, "message_id": id, "text": "x"}
        answer = await door.ask("editMessageText", edit, url=door.at("editMessageText", theirs))
        assert answer.refusal == (400, "Bad Request: message to edit not found")


# ---------------------------------------------------------------- restarts


async def test_a_placeholder_outlives_a_restart(telegram: Telegram, tmp_path: Path) -> None:
    telegram.outage(AWAY)
    async with opened(telegram, tmp_path) as door:
        waiting = await promise(door, CHAT, "waiting")
    telegram.heal()
    async with opened(telegram, tmp_path) as door:
        edited = await door.ask("editMessageText", {"chat_id": CHAT, "message_id": waiting, "text": "edited"})
        assert edited.result["text"] == "edited"
    async with opened(telegram, tmp_path) as door:
        assert (await door.ask("deleteMessage", {"chat_id": CHAT, "message_id": waiting})).result is True
    assert telegram.texts(CHAT) == []
