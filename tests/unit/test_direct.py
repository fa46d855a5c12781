"""Promises of `services.direct`, in virtual time: calls that are answered and never stored."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.virtual import EPOCH, VirtualClock, clock, run

from kurir.core.errors import UnknownBot
from kurir.core.events import Called, Event, Leased, OutageBegan, OutageEnded, Paused, Unleased
from kurir.core.methods import METHODS, Kind
from kurir.core.outcome import Answer, Break, NoReply, Reply
from kurir.core.treatment import LIVES, treatment
from kurir.ports import Call, Part, SystemClock
from kurir.services.direct import Direct
from kurir.simulator.harness import Telegram
from kurir.telegram.transport import HttpTransport

BOT = 123
TOKEN = "123:ABC"
OK = Reply(200, {"ok": True, "result": True})
ME = Reply(200, {"ok": True, "result": {"id": BOT, "is_bot": True, "first_name": "B", "username": "b_bot"}})
LOST = NoReply(Break.RESET, True)
REFUSED = NoReply(Break.REFUSED, False)
SICK = Reply(502, None, "<html>")
TOO_OLD = Reply(
    400,
    {
        "ok": False,
        "error_code": 400,
        "description": "Bad Request: query is too old and response timeout expired or query ID is invalid",
    },
)

Say = Callable[[Call], Awaitable[Answer]]


class Script:
    """A `ports.Transport` that answers as it is told, and notes when it was asked what."""

    def __init__(self, time: VirtualClock) -> None:
        self.calls: list[Call] = []
        self.times: list[float] = []  # seconds since the run began
        self.out = 0
        self.most = 0
        self._time = time
        self._answers: Iterator[Answer] = iter(())
        self._always: Answer | Say = OK

    def answer(self, *answers: Answer, then: Answer | Say = OK) -> None:
        self._answers, self._always = iter(answers), then

    async def call(self, call: Call) -> Answer:
        self.calls.append(call)
        self.times.append(self._time.now() - EPOCH)
        self.out += 1
        self.most = max(self.most, self.out)
        try:
            answer = next(self._answers, self._always)
            if isinstance(answer, Reply | NoReply):
                return answer
            work = answer(call)
            if call.timeout is None:
                return await work
            try:
                return await asyncio.wait_for(work, call.timeout)
            except TimeoutError:
                return NoReply(Break.TIMEOUT, True)
        finally:
            self.out -= 1

    async def close(self) -> None:
        pass


async def hang(_: Call) -> Answer:
    await asyncio.sleep(1e6)
    return OK


def after(seconds: float, answer: Answer = OK) -> Say:
    async def say(_: Call) -> Answer:
        await asyncio.sleep(seconds)
        return answer

    return say


class Bench:
    """A `Direct` over a `Script`, and what it emitted."""

    def __init__(self, **options: Any) -> None:
        self.clock = clock()
        self.script = Script(self.clock)
        self.called: list[Called] = []
        self.direct = Direct({BOT: TOKEN}, self.script, self.clock, random.Random(1), self._heard, **options)

    def _heard(self, event: Event) -> None:
        assert isinstance(event, Called)
        self.called.append(event)

    async def ask(self, method: str, /, **params: Any) -> Answer:
        return await self.direct.call(BOT, method, orjson.dumps(params))

    @property
    def now(self) -> float:
        return self.clock.now() - EPOCH


Promise = Callable[[Bench], Awaitable[None]]


def promised(promise: Promise, **options: Any) -> None:
    async def main() -> None:
        await asyncio.wait_for(promise(Bench(**options)), 1e5)

    run(main())


def told(answer: Answer, status: int) -> str:
    """What an envelope of ours says; it is shaped as Telegram's."""
    assert isinstance(answer, Reply)
    assert answer.status == status
    assert answer.payload is not None
    assert answer.payload["ok"] is False
    assert answer.payload["error_code"] == status
    assert answer.retry_after is not None
    return str(answer.payload["description"])


# ---------------------------------------------------------------- what goes out


def test_a_call_goes_out_once_as_it_is_and_its_answer_comes_back() -> None:
    async def promise(b: Bench) -> None:
        assert await b.ask("GETCHAT", chat_id=7) is OK
        assert b.script.calls == [Call(TOKEN, "getChat", b'{"chat_id":7}')]
        assert b.called == [Called(BOT, "getChat", "delivered", 0.0, 0)]

    promised(promise)


def test_a_bot_of_the_test_environment_is_asked_there() -> None:
    async def promise(b: Bench) -> None:
        await b.ask("getChat", chat_id=7)
        assert b.script.calls[0].test

    promised(promise, tests={BOT})


def test_files_go_with_the_call(tmp_path: Path) -> None:
    part = Part("certificate", tmp_path / "cert", "cert.pem", "application/x-pem-file", 3)

    async def promise(b: Bench) -> None:
        await b.direct.call(BOT, "setWebhook", b"{}", (part,))
        assert b.script.calls[0].parts == (part,)

    promised(promise)


def test_a_bot_that_is_not_configured_is_refused() -> None:
    async def promise(b: Bench) -> None:
        with pytest.raises(UnknownBot):
            await b.direct.call(9, "getMe", b"{}")

    promised(promise)


@pytest.mark.parametrize("method", ["..", "a/b", "", "x" * 65, "get\r\nMe", "sénd", "a?b"])
def test_what_is_no_method_name_never_leaves(method: str) -> None:
    async def promise(b: Bench) -> None:
        answer = await b.direct.call(BOT, method, b"{}")
        assert isinstance(answer, Reply)
        assert answer.status == 404
        assert b.script.calls == []
        assert b.called[0].method == "unknown"

    promised(promise)


@pytest.mark.parametrize("reply", [Reply(429, {"ok": False, "error_code": 429}, retry_after=9.0), TOO_OLD])
@pytest.mark.parametrize("method", ["getChat", "sendChatAction", "someNewMethod"])
def test_what_telegram_refuses_is_handed_back_as_it_is(reply: Reply, method: str) -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(reply)
        assert await b.ask(method) is reply
        assert len(b.script.calls) == 1

    promised(promise)


# ---------------------------------------------------------------- now or never


def test_every_class_b_method_has_a_life() -> None:
    assert set(LIVES) == {method for method, kind in METHODS.items() if kind is Kind.NOW}


@pytest.mark.parametrize("trouble", [LOST, REFUSED, SICK])
@pytest.mark.parametrize("method", ["sendChatAction", "sendMessageDraft", "answerCallbackQuery", "answerInlineQuery"])
def test_what_may_be_said_twice_is_repeated_soon_after_trouble(method: str, trouble: Answer) -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(trouble, trouble)
        assert await b.ask(method) is OK
        assert len(b.script.calls) == 3
        assert b.now < 0.5
        assert b.called[0].repeats == 2

    promised(promise)


@pytest.mark.parametrize("method", ["answerWebAppQuery", "answerGuestQuery", "sendChatJoinRequestWebApp"])
def test_what_may_not_be_said_twice_is_repeated_only_if_nothing_left(method: str) -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(REFUSED, LOST)
        assert await b.ask(method) is LOST
        b.script.answer(SICK)
        assert await b.ask(method) is SICK
        assert len(b.script.calls) == 3

    promised(promise)


@pytest.mark.parametrize("trouble", [LOST, REFUSED, SICK])
@pytest.mark.parametrize("method", sorted(LIVES))
def test_nothing_is_said_after_its_time(method: str, trouble: Answer) -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(then=trouble)
        assert await b.ask(method) is trouble
        assert b.script.times[-1] < LIVES[method]
        assert b.now < LIVES[method]

    promised(promise)


@pytest.mark.parametrize("method", sorted(LIVES))
def test_a_call_that_hangs_ends_with_its_life(method: str) -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(then=hang)
        answer = await b.ask(method)
        assert isinstance(answer, NoReply)
        assert (answer.kind, answer.sent) == (Break.TIMEOUT, True)
        assert b.now <= LIVES[method]
        assert b.script.out == 0

    promised(promise)


def test_even_a_connection_that_cannot_be_had_ends_with_its_life() -> None:
    async def promise(b: Bench) -> None:
        b.script.call = hang  # type: ignore[method-assign] # the transport's timeout counts from the first byte
        answer = await b.ask("sendChatAction")
        assert isinstance(answer, NoReply)
        assert b.now == LIVES["sendChatAction"]

    promised(promise)


def test_a_try_that_hangs_leaves_time_for_another() -> None:
    async def promise(b: Bench) -> None:
        turns = iter((hang, after(0.1)))

        async def say(call: Call) -> Answer:
            return await next(turns)(call)

        b.script.answer(then=say)
        assert await b.ask("answerCallbackQuery") is OK
        assert b.script.times == [0.0, pytest.approx(5.1, abs=0.1)]

    promised(promise)


def test_an_answer_that_had_arrived_after_all_counts_as_given() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(LOST, TOO_OLD)
        answer = await b.ask("answerCallbackQuery")
        assert isinstance(answer, Reply)
        assert answer.status == 200
        assert answer.payload is not None
        assert answer.payload["result"] is True
        b.script.answer(REFUSED, TOO_OLD)  # nothing had left: it is too old indeed
        assert await b.ask("answerCallbackQuery") is TOO_OLD

    promised(promise)


# ---------------------------------------------------------------- sheds first


def test_more_than_half_of_the_places_taken_leaves_none_for_class_b() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(then=after(1))
        asked = [asyncio.ensure_future(b.ask("getChat")) for _ in range(6)]
        await asyncio.sleep(0.5)
        answer = await b.ask("sendChatAction")
        assert "6 other calls" in told(answer, 503)
        assert b.now == 0.5
        assert len(b.script.calls) == 6
        await asyncio.gather(*asked)
        assert await b.ask("sendChatAction") is OK
        assert b.called[0].outcome == "shed"

    promised(promise, at_once=10)


def test_class_b_never_takes_the_last_places() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(then=after(1))
        answers = await asyncio.gather(*(b.ask("sendChatAction") for _ in range(50)))
        assert b.script.most == 6
        assert sum(answer is OK for answer in answers) == 6

    promised(promise, at_once=10)


def test_in_an_outage_class_b_is_refused_at_once_and_not_after() -> None:
    async def promise(b: Bench) -> None:
        b.direct.hear(OutageBegan(BOT, "connection refused"))
        answer = await b.ask("sendChatAction")
        assert "out of reach (connection refused)" in told(answer, 503)
        assert isinstance(answer, Reply)
        assert answer.payload is not None
        assert "parameters" not in answer.payload  # libraries would hold back what Kurir can store
        assert b.script.calls == []
        b.direct.hear(OutageEnded(BOT, 3.0))
        assert await b.ask("sendChatAction") is OK

    promised(promise)


@pytest.mark.parametrize("event", [Unleased(BOT, "taken"), Leased(BOT, 2)])
def test_an_outage_is_forgotten_when_another_courier_will_tell_of_it(event: Event) -> None:
    async def promise(b: Bench) -> None:
        b.direct.hear(OutageBegan(BOT, "x"))
        b.direct.hear(event)
        assert await b.ask("sendChatAction") is OK

    promised(promise)


def test_an_answer_of_telegram_ends_the_shedding() -> None:
    async def promise(b: Bench) -> None:
        b.direct.hear(OutageBegan(BOT, "x"))
        assert await b.ask("getChat") is OK
        assert await b.ask("sendChatAction") is OK

    promised(promise)


def test_a_captive_portal_is_no_answer_of_telegram() -> None:
    async def promise(b: Bench) -> None:
        b.direct.hear(OutageBegan(BOT, "x"))
        b.script.answer(Reply(302, None, "please log in"))
        await b.ask("getChat")
        told(await b.ask("sendChatAction"), 503)

    promised(promise)


def test_an_outage_that_begins_meanwhile_ends_the_repeats() -> None:
    async def promise(b: Bench) -> None:
        async def begin(_: Call) -> Answer:
            b.direct.hear(OutageBegan(BOT, "x"))
            return REFUSED

        b.script.answer(then=begin)
        assert await b.ask("answerCallbackQuery") is REFUSED
        assert len(b.script.calls) == 1

    promised(promise)


def test_while_a_flood_wait_holds_the_bot_class_b_is_told_how_long() -> None:
    async def promise(b: Bench) -> None:
        b.direct.hear(Paused(BOT, None, b.clock.now() + 12.5, "Too Many Requests"))
        answer = await b.ask("sendMessageDraft")
        assert "retry after 13" in told(answer, 429)
        assert isinstance(answer, Reply)
        assert answer.payload is not None
        assert answer.payload["parameters"] == {"retry_after": 13}
        assert await b.ask("getChat") is OK
        await asyncio.sleep(12.6)
        assert await b.ask("sendMessageDraft") is OK

    promised(promise)


def test_other_pauses_hold_nothing_back() -> None:
    async def promise(b: Bench) -> None:
        until = b.clock.now() + 60
        b.direct.hear(Paused(BOT, "55", until, "one chat"))
        assert await b.ask("sendChatAction") is OK
        b.direct.hear(Paused(BOT, None, math.inf, "refused: Unauthorized"))  # Telegram says so itself
        b.direct.hear(Paused(9, None, until, "another bot"))
        assert await b.ask("sendChatAction") is OK
        b.direct.hear(Paused(BOT, None, until, "flood"))
        b.direct.hear(Paused(BOT, None, 0.0, "resumed"))
        assert await b.ask("sendChatAction") is OK

    promised(promise)


# ---------------------------------------------------------------- asking


@pytest.mark.parametrize("trouble", [LOST, REFUSED, SICK])
@pytest.mark.parametrize("method", ["getChat", "getFile", "setWebhook", "deleteWebhook"])
def test_a_question_is_asked_again_for_ten_seconds(method: str, trouble: Answer) -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(then=trouble)
        assert await b.ask(method) is trouble
        assert 8 < b.script.times[-1] < 10
        assert len(b.script.calls) > 6
        b.script.answer(trouble, trouble)
        assert await b.ask(method) is OK

    promised(promise)


@pytest.mark.parametrize("method", ["someNewMethod", "getSomethingNew", "logOut", "close"])
def test_what_kurir_does_not_know_is_tried_once_and_again_only_if_nothing_left(method: str) -> None:
    async def promise(b: Bench) -> None:
        for trouble in (LOST, SICK):
            b.script.answer(trouble)
            assert await b.ask(method) is trouble
        assert len(b.script.calls) == 2
        b.script.answer(REFUSED)
        assert await b.ask(method) is OK

    promised(promise)


def test_a_file_that_cannot_be_read_is_not_tried_again() -> None:
    async def promise(b: Bench) -> None:
        unreadable = NoReply(Break.FILE, False, "gone")
        b.script.answer(unreadable)
        assert await b.ask("setWebhook") is unreadable

    promised(promise)


def test_no_more_calls_at_once_than_places_and_first_come_first_served() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(then=after(1))
        await asyncio.gather(*(b.ask("getChat", chat_id=i) for i in range(12)))
        assert b.script.most == 4
        assert [orjson.loads(call.params)["chat_id"] for call in b.script.calls] == list(range(12))
        assert b.now == 3.0

    promised(promise, at_once=4)


def test_a_turn_is_waited_for_ten_seconds() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(then=after(30))
        first = asyncio.ensure_future(b.ask("getChat"))
        await asyncio.sleep(1)
        assert "turn did not come" in told(await b.ask("getChat"), 503)
        assert b.now == 11.0
        assert b.called[0].outcome == "busy"
        assert await first is OK
        assert await b.ask("getChat") is OK  # no place was lost

    promised(promise, at_once=1)


def test_a_caller_who_leaves_gives_its_place_back() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(then=hang)
        first, second = (asyncio.ensure_future(b.ask("getChat")) for _ in range(2))
        await asyncio.sleep(1)
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert [event.outcome for event in b.called] == ["abandoned", "abandoned"]
        assert b.script.out == 0
        b.script.answer()
        assert await b.ask("getChat") is OK

    promised(promise, at_once=1)


# ---------------------------------------------------------------- long polls


@pytest.mark.parametrize(
    ("params", "seconds"),
    [
        (b'{"timeout":30}', 45.0),
        (b'{"timeout":"30"}', 45.0),
        (b"{}", 15.0),
        (b'{"timeout":-5}', 15.0),
        (b'{"timeout":null}', 15.0),
        (b'{"timeout":"soon"}', 15.0),
        (b'{"timeout":1e999}', 15.0),
        (b'{"timeout":99999999}', 3615.0),
        (b"[1]", 15.0),
        (b"not json", 15.0),
        (b"[" * 100_000, 15.0),
    ],
)
def test_a_long_poll_is_waited_for_15_seconds_longer_than_it_asks(params: bytes, seconds: float) -> None:
    assert treatment("getupdates", params).patience == seconds


@pytest.mark.parametrize("trouble", [LOST, REFUSED, SICK])
def test_a_long_poll_is_tried_once(trouble: Answer) -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(trouble)
        assert await b.ask("getUpdates", timeout=30) is trouble
        assert b.now == 0

    promised(promise)


def test_long_polls_take_no_places() -> None:
    async def promise(b: Bench) -> None:
        async def say(call: Call) -> Answer:
            return await hang(call) if call.method == "getUpdates" else OK

        b.script.answer(then=say)
        polls = [asyncio.ensure_future(b.ask("getUpdates", timeout=30)) for _ in range(50)]
        await asyncio.sleep(1)
        assert await b.ask("getChat") is OK
        assert await b.ask("sendChatAction") is OK
        assert b.now == 1.0
        assert all(isinstance(answer, NoReply) for answer in await asyncio.gather(*polls))
        assert b.now == 45.0

    promised(promise, at_once=1)


# ---------------------------------------------------------------- getMe


def test_who_the_bot_is_is_known_without_telegram() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(ME)
        assert b.direct.me(BOT) is None
        assert await b.ask("getMe") is ME
        assert b.direct.me(BOT) == ME.payload["result"]  # type: ignore[index]
        for trouble in (LOST, REFUSED, SICK, hang):
            b.script.answer(then=trouble)
            started = b.now
            assert await b.ask("getme") is ME
            assert b.now - started <= 2.0  # sooner than clients give up
        assert [event.outcome for event in b.called] == ["delivered", *["cached"] * 4]

    promised(promise)


def test_in_an_outage_nobody_is_asked_who_the_bot_is() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(ME)
        await b.ask("getMe")
        b.direct.hear(OutageBegan(BOT, "x"))
        assert await b.ask("getMe") is ME
        assert len(b.script.calls) == 1

    promised(promise)


def test_an_unknown_bot_is_asked_for_even_in_an_outage() -> None:
    async def promise(b: Bench) -> None:
        b.direct.hear(OutageBegan(BOT, "x"))
        b.script.answer(REFUSED, REFUSED, ME)
        assert await b.ask("getMe") is ME

    promised(promise)


def test_a_token_that_telegram_refused_is_nobody_any_more() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(ME)
        await b.ask("getMe")
        gone = Reply(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
        b.script.answer(gone, then=REFUSED)
        assert await b.ask("getMe") is gone
        assert await b.ask("getMe") is REFUSED
        assert b.direct.me(BOT) is None

    promised(promise)


# ---------------------------------------------------------------- the end


def test_closing_tells_everybody_and_gives_calls_but_not_polls_their_grace() -> None:
    async def promise(b: Bench) -> None:
        b.script.answer(then=after(3))
        quick = asyncio.ensure_future(b.ask("getChat"))
        poll = asyncio.ensure_future(b.ask("getUpdates", timeout=30))
        await asyncio.sleep(1)
        b.script.answer(then=hang)
        slow = asyncio.ensure_future(b.ask("getFile"))
        await asyncio.sleep(1)
        closing = asyncio.ensure_future(b.direct.close(grace=5))
        assert "closing" in told(await poll, 503)
        assert b.now == 2.0
        assert "closing" in told(await b.ask("getChat"), 503)
        assert await quick is OK
        assert "closing" in told(await slow, 503)
        await closing
        assert b.now == 7.0
        assert b.script.out == 0

    promised(promise)


def test_a_grace_prolongs_nothing() -> None:
    async def promise(b: Bench) -> None:
        b.script.call = hang  # type: ignore[method-assign]
        action = asyncio.ensure_future(b.ask("sendChatAction"))
        await asyncio.sleep(1)
        await b.direct.close(grace=60)
        assert b.now == LIVES["sendChatAction"]
        await action

    promised(promise)


def test_closing_with_nothing_out_is_over_at_once() -> None:
    async def promise(b: Bench) -> None:
        await b.direct.close(grace=5)
        assert b.now == 0.0

    promised(promise)


# ---------------------------------------------------------------- over real HTTP


async def test_on_a_lossy_network_every_button_is_answered_once(telegram: Telegram) -> None:
    said = [telegram.say(chat, "/start")["message"]["message_id"] for chat in range(1, 61)]
    ids = [telegram.press(chat, message, "x")["callback_query"]["id"] for chat, message in enumerate(said, 1)]
    telegram.lose(0.4, seed=3)
    number = int(telegram.token.partition(":")[0])
    transport = HttpTransport(telegram.url, pool=100)
    direct = Direct({number: telegram.token}, transport, SystemClock(), random.Random(1), lambda _: None, at_once=200)
    try:
        asked = (direct.call(number, "answerCallbackQuery", orjson.dumps({"callback_query_id": id})) for id in ids)
        answers = await asyncio.gather(*asked)
        assert {answer.status for answer in answers if isinstance(answer, Reply)} == {200}
        assert all(isinstance(answer, Reply) and answer.payload["result"] is True for answer in answers)  # type: ignore[index]
        telegram.heal()
        again = await direct.call(number, "answerCallbackQuery", orjson.dumps({"callback_query_id": ids[0]}))
        assert isinstance(again, Reply)
        assert again.status == 400
    finally:
        await direct.close()
        await transport.close()


async def test_updates_come_through_a_long_poll(telegram: Telegram) -> None:
    number = int(telegram.token.partition(":")[0])
    transport = HttpTransport(telegram.url)
    direct = Direct({number: telegram.token}, transport, SystemClock(), random.Random(1), lambda _: None)
    try:
        poll = asyncio.ensure_future(direct.call(number, "getUpdates", b'{"timeout":20}'))
        await asyncio.sleep(0.2)
        telegram.say(5, "hello")
        answer = await asyncio.wait_for(poll, 5)
        assert isinstance(answer, Reply)
        assert answer.payload is not None
        assert answer.payload["result"][0]["message"]["text"] == "hello"
        poll = asyncio.ensure_future(direct.call(number, "getUpdates", b'{"timeout":20,"offset":-1}'))
        await asyncio.wait_for(poll, 5)
        poll = asyncio.ensure_future(direct.call(number, "getUpdates", b'{"timeout":20,"offset":99999}'))
        await asyncio.sleep(0.2)
        await asyncio.wait_for(direct.close(), 5)  # nobody has to wait for a poll to end
        told(await poll, 503)
    finally:
        await transport.close()
