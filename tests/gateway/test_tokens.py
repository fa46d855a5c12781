"""Only configured bots are served; who is none hears what Telegram would say."""

from __future__ import annotations

from pathlib import Path

from kurir import Settings
from kurir.settings import make_bot
from kurir.simulator.harness import TOKEN, Telegram

from .helpers import Door, opened

CHAT = 7
UNAUTHORIZED = {"ok": False, "error_code": 401, "description": "Unauthorized"}
NOT_FOUND = {"ok": False, "error_code": 404, "description": "Not Found"}
HELLO = {"chat_id": CHAT, "text": "hi"}


async def test_an_unknown_token_is_unauthorized_as_at_telegram(door: Door) -> None:
    for token in ("99:unknown", "123456:wrong", "123456:", "123456", f"{TOKEN}x", TOKEN[:-1]):
        method = "getMe" if token == "123456" else "sendMessage"
        answer = await door.ask(method, HELLO, url=door.at(method, token))
        assert (token, answer.status, answer.body) == (token, 401, UNAUTHORIZED)
    assert not await door.records()


async def test_who_tries_many_tokens_is_told_to_wait_and_holds_up_nobody_who_has_one(door: Door) -> None:
    answers = [await door.ask("getMe", url=door.at("getMe", f"123456:guess-{number}")) for number in range(30)]
    assert {answer.status for answer in answers} == {401, 429}
    assert answers[-1].status == 429
    assert answers[-1].body["parameters"]["retry_after"] == int(answers[-1].headers["Retry-After"]) > 0
    assert (await door.ask("sendMessage", HELLO)).status == 200


async def test_what_can_be_no_token_is_not_found(door: Door) -> None:
    for token in ("", "abc", ":", "abc:def", "-5:abc", "1.5:x", "%20", "²:x"):
        answer = await door.ask("sendMessage", HELLO, url=f"{door.url}/bot{token}/sendMessage")
        assert (token, answer.status, answer.body) == (token, 404, NOT_FOUND)


async def test_a_token_whose_colon_is_escaped_is_the_same(door: Door) -> None:
    answer = await door.ask("sendMessage", HELLO, url=door.at("sendMessage", TOKEN.replace(":", "%3A")))
    assert answer.result["text"] == "hi"


async def test_each_bot_speaks_for_itself(telegram: Telegram, tmp_path: Path) -> None:
    other = "654321:another-simulated-bots-token-000000"
    telegram.do(lambda world: world.add_bot(other))
    bots = (make_bot("one", telegram.token), make_bot("two", other))
    async with opened(telegram, tmp_path, settings=Settings(bots=bots)) as door:
        for token, id in ((telegram.token, 123456), (other, 654321)):
            answer = await door.ask("sendMessage", HELLO, url=door.at("sendMessage", token))
            assert answer.result["from"]["id"] == id
            assert (await door.ask("getMe", url=door.at("getMe", token))).result["id"] == id


async def test_the_test_environment_is_only_for_bots_of_it(telegram: Telegram, tmp_path: Path) -> None:
    other = "654321:another-simulated-bots-token-000000"
    telegram.do(lambda world: world.add_bot(other))
    bots = (make_bot("live", telegram.token), make_bot("test", other, entry={"test": True}))
    async with opened(telegram, tmp_path, settings=Settings(bots=bots)) as door:
        for token, method, status in (
            (telegram.token, "sendMessage", 200),
            (telegram.token, "test/sendMessage", 401),
            (other, "test/sendMessage", 200),
            (other, "sendMessage", 401),
            (other, "test/getMe", 200),
            (other, "getMe", 401),
        ):
            answer = await door.ask(method, HELLO, url=door.at(method, token))
            assert (method, answer.status) == (method, status)
        assert len(telegram.sent(CHAT)) == 2


async def test_other_verbs_are_refused_in_telegrams_shape(door: Door) -> None:
    for verb in ("PUT", "DELETE", "PATCH"):
        assert (await door.ask("sendMessage", HELLO, verb=verb)).status == 405
