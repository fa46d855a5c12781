"""Updates: confirmation by offset, webhooks excluding getUpdates, callback queries, commands."""

from __future__ import annotations

from kurir.simulator import ManualClock, World

from .helpers import TOKEN, Ask, result, why


def test_updates_come_in_order_until_confirmed(world: World, ask: Ask) -> None:
    for text in "abc":
        world.say(1, text)
    assert [one["message"]["text"] for one in result(ask("getUpdates", limit=2))] == ["a", "b"]
    assert [one["message"]["text"] for one in result(ask("getUpdates", offset="2"))] == ["b", "c"]
    assert [one["message"]["text"] for one in result(ask("getUpdates", offset=-1))] == ["c"]
    assert result(ask("getUpdates", offset=4)) == []


def test_only_allowed_updates_are_queued(world: World, ask: Ask) -> None:
    ask("getUpdates", allowed_updates='["callback_query"]')
    world.say(1, "x")
    assert result(ask("getUpdates")) == []


def test_a_webhook_excludes_get_updates(ask: Ask) -> None:
    set_ = ask("setWebhook", url="http://127.0.0.1:1/hook", secret_token="s")
    assert set_.payload == {"ok": True, "result": True, "description": "Webhook was set"}
    refused = ask("getUpdates")
    assert refused.status == 409
    assert why(refused).startswith("Conflict: can't use getUpdates method while webhook is active")
    assert result(ask("getWebhookInfo"))["url"] == "http://127.0.0.1:1/hook"
    assert ask("deleteWebhook").payload["description"] == "Webhook was deleted"
    assert result(ask("getUpdates")) == []


def test_a_webhook_must_have_a_proper_address(ask: Ask) -> None:
    assert why(ask("setWebhook", url="nonsense")).startswith("Bad Request: bad webhook")


def test_a_callback_query_is_answered_once(world: World, ask: Ask) -> None:
    message_id = result(ask("sendMessage", chat_id=1, text="x"))["message_id"]
    query = world.press(1, message_id, "yes")["callback_query"]
    assert result(ask("getUpdates"))[0]["callback_query"]["data"] == "yes"
    assert result(ask("answerCallbackQuery", callback_query_id=query["id"])) is True
    assert ask("answerCallbackQuery", callback_query_id=query["id"]).status == 400


def test_commands_are_kept_by_scope_and_language(ask: Ask) -> None:
    commands = [{"command": "/start", "description": "Start"}]
    assert result(ask("setMyCommands", commands=commands, language_code="en")) is True
    assert result(ask("getMyCommands", language_code="en")) == [{"command": "start", "description": "Start"}]
    assert result(ask("getMyCommands")) == []
    assert (
        why(ask("setMyCommands", commands=[{"command": "A b", "description": "x"}]))
        == "Bad Request: BOT_COMMAND_INVALID"
    )


def test_close_is_refused_in_the_first_ten_minutes(ask: Ask, clock: ManualClock) -> None:
    assert ask("close").status == 429
    clock.set(clock.now() + 601)
    assert result(ask("close")) is True


def test_a_logged_out_bot_is_told_so(ask: Ask) -> None:
    assert result(ask("logOut")) is True
    assert why(ask("getMe")) == "Logged out"


def test_the_bot_knows_itself(ask: Ask, world: World) -> None:
    me = result(ask("getMe"))
    assert (me["id"], me["is_bot"], me["username"]) == (123, True, world.bots[TOKEN].username)
