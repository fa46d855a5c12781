"""Chats that cannot be written to, and chats that moved."""

from __future__ import annotations

import pytest

from kurir.simulator import ChatState, World

from .helpers import GROUP, SUPERGROUP, TOKEN, Ask, result, why

CHANNEL = -1_009

CLOSED = [
    (1, ChatState.BLOCKED, 403, "Forbidden: bot was blocked by the user"),
    (1, ChatState.DEACTIVATED, 403, "Forbidden: user is deactivated"),
    (1, ChatState.NEVER_STARTED, 403, "Forbidden: bot can't initiate conversation with a user"),
    (1, ChatState.IS_BOT, 403, "Forbidden: bot can't send messages to bots"),
    (GROUP, ChatState.KICKED, 403, "Forbidden: bot was kicked from the group chat"),
    (SUPERGROUP, ChatState.KICKED, 403, "Forbidden: bot was kicked from the supergroup chat"),
    (CHANNEL, ChatState.LEFT, 403, "Forbidden: bot is not a member of the channel chat"),
    (GROUP, ChatState.DELETED, 403, "Forbidden: the group chat was deleted"),
    (GROUP, ChatState.NO_RIGHTS, 400, "Bad Request: not enough rights to send text messages to the chat"),
    (CHANNEL, ChatState.NO_RIGHTS, 400, "Bad Request: need administrator rights in the channel chat"),
]


@pytest.mark.parametrize(("chat", "state", "code", "words"), CLOSED)
def test_a_closed_chat_refuses_in_telegrams_words(
    world: World, ask: Ask, chat: int, state: ChatState, code: int, words: str
) -> None:
    world.add_chat(CHANNEL, "channel")
    world.set_state(chat, state)
    refused = ask("sendMessage", chat_id=chat, text="x")
    assert (refused.status, why(refused)) == (code, words)


def test_rights_are_told_by_kind(world: World, ask: Ask) -> None:
    world.set_state(GROUP, ChatState.NO_RIGHTS)
    refused = ask("sendPhoto", chat_id=GROUP, photo="https://example.org/1.jpg")
    assert why(refused) == "Bad Request: not enough rights to send photos to the chat"


def test_a_user_may_block_one_bot_and_not_another(world: World, ask: Ask) -> None:
    world.add_bot("9:Z")
    world.set_state(1, ChatState.BLOCKED, bot=9)
    assert ask("sendMessage", token="9:Z", chat_id=1, text="x").status == 403
    assert ask("sendMessage", chat_id=1, text="x").status == 200


def test_an_opened_chat_can_be_written_to_again(world: World, ask: Ask) -> None:
    world.set_state(1, ChatState.BLOCKED)
    world.set_state(1, ChatState.OPEN)
    assert ask("sendMessage", chat_id=1, text="x").status == 200


def test_blocking_tells_the_bot_by_an_update(world: World, ask: Ask) -> None:
    world.set_state(1, ChatState.BLOCKED)
    update = result(ask("getUpdates"))[0]["my_chat_member"]
    assert (update["old_chat_member"]["status"], update["new_chat_member"]["status"]) == ("member", "kicked")


def test_a_group_that_moved_names_its_new_id(world: World, ask: Ask) -> None:
    world.add_chat(GROUP, "group")
    world.migrate(GROUP, SUPERGROUP)
    refused = ask("sendMessage", chat_id=GROUP, text="x")
    assert why(refused) == "Bad Request: group chat was upgraded to a supergroup chat"
    assert refused.payload["parameters"] == {"migrate_to_chat_id": SUPERGROUP}
    assert ask("sendMessage", chat_id=SUPERGROUP, text="x").status == 200


def test_the_journal_knows_a_moved_chat_by_both_ids(world: World, ask: Ask) -> None:
    ask("sendMessage", chat_id=GROUP, text="a")
    world.migrate(GROUP, SUPERGROUP)
    ask("sendMessage", chat_id=SUPERGROUP, text="b")
    assert world.journal.report({GROUP: ["a", "b"]}).clean


def test_a_frozen_bot_may_not_send(world: World, ask: Ask) -> None:
    world.bots[TOKEN].frozen = True
    assert why(ask("sendMessage", chat_id=1, text="x")) == "Bad Request: FROZEN_METHOD_INVALID"
    assert ask("getMe").status == 200
