"""Promises of `core.methods`: classes, lanes, prices, targets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir.core.methods import (
    FILE_FIELDS,
    METHODS,
    Kind,
    album_items,
    canonical,
    chat_name,
    coalesces,
    cost,
    costs_money,
    file_kind,
    is_basic_group,
    is_chat,
    is_group,
    kind_of,
    lane_of,
    message_id_of,
    repeatable,
    target_of,
)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("sendMessage", Kind.SEND),
        ("sendMediaGroup", Kind.SEND),
        ("copyMessages", Kind.SEND),
        ("createForumTopic", Kind.SEND),
        ("sendChatAction", Kind.NOW),
        ("sendRichMessageDraft", Kind.NOW),
        ("answerCallbackQuery", Kind.NOW),
        ("editMessageText", Kind.SET),
        ("deleteMessages", Kind.SET),
        ("setWebhook", Kind.SET),
        ("getUpdates", Kind.ASK),
        ("close", Kind.ASK),
        ("sendHologram", Kind.ASK),
    ],
)
def test_each_method_has_its_class_and_unknown_ones_pass_through(method: str, kind: Kind) -> None:
    assert kind_of(method) is kind


def test_every_method_of_bot_api_10_3_is_listed() -> None:
    old_names = {"kickChatMember", "getChatMembersCount", "setStickerSetThumb"}
    assert len(set(METHODS) - old_names) == 185


def test_a_get_method_is_never_queued() -> None:
    assert {kind_of(name) for name in METHODS if name.startswith("get")} == {Kind.ASK}


@given(st.sampled_from(sorted(METHODS)), st.data())
def test_the_case_of_a_method_does_not_matter(name: str, data: st.DataObject) -> None:
    upper = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    spelled = "".join(c.upper() if up else c.lower() for c, up in zip(name, upper, strict=True))
    assert canonical(spelled) == name
    assert kind_of(spelled) is kind_of(name)


def test_an_unknown_method_keeps_its_spelling() -> None:
    assert canonical("sendHoloGram") == "sendHoloGram"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("sendGift", {}),
        ("giftpremiumsubscription", {}),
        ("transferGift", {}),
        ("sendMessage", {"allow_paid_broadcast": True}),
        ("sendMessage", {"allow_paid_broadcast": "True"}),
        ("sendPhoto", {"allow_paid_broadcast": 1}),
    ],
)
def test_gifts_transfers_and_paid_broadcasts_cost_money(method: str, params: dict[str, object]) -> None:
    assert costs_money(method, params)


@pytest.mark.parametrize("params", [{}, {"allow_paid_broadcast": False}, {"allow_paid_broadcast": "false"}])
def test_an_ordinary_send_costs_no_money(params: dict[str, object]) -> None:
    assert not costs_money("sendMessage", params)


def test_a_method_that_sends_nothing_costs_no_money_whatever_its_params_say() -> None:
    assert not costs_money("getMe", {"allow_paid_broadcast": True})


@pytest.mark.parametrize("method", ["sendMessage", "sendMediaGroup", "editMessageText", "createForumTopic"])
def test_sends_and_edits_cost_one_of_the_pace(method: str) -> None:
    assert cost(method) == 1


@pytest.mark.parametrize("method", ["sendChatAction", "getChat", "deleteMessage", "answerInlineQuery", "fooBar"])
def test_everything_else_costs_nothing_of_the_pace(method: str) -> None:
    assert cost(method) == 0


def test_only_sets_and_asks_are_repeatable() -> None:
    kinds = {kind_of(name) for name in METHODS if repeatable(name)}
    assert kinds == {Kind.SET, Kind.ASK}


@given(st.integers(min_value=-(10**15), max_value=10**15), st.sampled_from(["", " ", "\t"]))
def test_a_chat_has_one_name_however_its_id_is_written(chat: int, blank: str) -> None:
    assert chat_name(chat) == chat_name(f"{blank}{chat}{blank}") == chat_name(float(chat)) == str(chat)


@given(st.from_regex(r"@[A-Za-z_0-9]{3,30}", fullmatch=True))
def test_a_channel_name_ignores_case(name: str) -> None:
    assert chat_name(name) == chat_name(name.upper()) == name.lower()


@given(st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.none(), st.booleans()))
def test_naming_a_chat_twice_changes_nothing(value: object) -> None:
    assert chat_name(chat_name(value)) == chat_name(value)


@pytest.mark.parametrize(
    ("method", "params", "lane"),
    [
        ("sendMessage", {"chat_id": " -100 "}, "-100"),
        ("banChatMember", {"chat_id": -5, "user_id": 7}, "-5"),
        ("sendGift", {"user_id": 7}, "7"),
        ("transferGift", {"business_connection_id": "b", "new_owner_chat_id": 9}, "9"),
        ("verifyUser", {"user_id": 7}, "user:7"),
        ("setGameScore", {"user_id": 7, "inline_message_id": "AbC"}, "inline:AbC"),
        ("editMessageText", {"inline_message_id": "AbC"}, "inline:AbC"),
        ("createNewStickerSet", {"user_id": 7, "name": "s"}, "stickers"),
        ("setStickerSetTitle", {"name": "s"}, "stickers"),
        ("setBusinessAccountBio", {"business_connection_id": "b1"}, "business:b1"),
        ("setMyName", {}, ""),
        ("sendMessage", {"chat_id": None}, ""),
    ],
)
def test_each_call_has_its_lane(method: str, params: dict[str, object], lane: str) -> None:
    assert lane_of(method, params) == lane


def test_only_lanes_that_name_a_chat_are_chats() -> None:
    assert [is_chat(x) for x in ("1", "-100", "@a", "user:1", "inline:1", "stickers", "")] == [True] * 3 + [False] * 4


def test_groups_have_negative_ids_or_names() -> None:
    assert [is_group(x) for x in ("-1", "@name", "1", "", "user:1")] == [True, True, False, False, False]


def test_only_basic_groups_can_become_supergroups() -> None:
    assert [is_basic_group(x) for x in ("-123", "-1001234567890", "123", "@a")] == [True, False, False, False]


@pytest.mark.parametrize(
    ("method", "params", "target"),
    [
        ("editMessageText", {"chat_id": 1, "message_id": 5}, "5:editMessageText"),
        ("EDITMESSAGETEXT", {"chat_id": 1, "message_id": "5"}, "5:editMessageText"),
        ("deleteMessage", {"chat_id": 1, "message_id": 5}, "5:deleteMessage"),
        ("editMessageText", {"inline_message_id": "Ab"}, "Ab:editMessageText"),
        ("editMessageText", {"message_id": 5, "business_connection_id": "B"}, "bB.5:editMessageText"),
        (
            "editEphemeralMessageText",
            {"chat_id": 1, "receiver_user_id": 9, "ephemeral_message_id": 5},
            "e9.5:editEphemeralMessageText",
        ),
        ("deleteMessages", {"message_ids": [1, 2]}, None),
        ("forwardMessage", {"message_id": 5}, None),
        ("setChatTitle", {"chat_id": 1}, None),
    ],
)
def test_a_set_of_one_message_has_a_target(method: str, params: dict[str, object], target: str | None) -> None:
    assert target_of(method, params) == target


@given(st.text(min_size=1).filter(lambda s: s.strip()))
def test_a_target_holds_one_colon_before_its_method(message: str) -> None:
    target = target_of("editMessageText", {"message_id": message})
    assert target is not None
    assert target.count(":") == 1


def test_the_message_id_is_that_of_the_message_changed() -> None:
    assert message_id_of("editMessageText", {"message_id": 12}) == "12"


def test_edits_and_reactions_coalesce_and_nothing_else() -> None:
    assert coalesces("editMessageText")
    assert coalesces("setMessageReaction")
    assert not any(map(coalesces, ("editForumTopic", "deleteMessage", "pinChatMessage", "sendMessage")))


@pytest.mark.parametrize(
    ("media", "items"), [([{}, {}], 2), ("[{},{},{}]", 3), ("no json", 0), (None, 0), ('{"a": 1}', 0)]
)
def test_the_items_of_an_album_are_counted(media: object, items: int) -> None:
    assert album_items("sendMediaGroup", {"media": media}) == items


def test_what_is_no_album_has_no_items() -> None:
    assert album_items("sendPaidMedia", {"media": [{}]}) is None


@pytest.mark.parametrize(
    ("method", "field", "media_type", "kind"),
    [
        ("sendPhoto", "photo", None, "photo"),
        ("sendVideo", "thumbnail", None, "thumbnail"),
        ("sendMediaGroup", "media", "document", "document"),
        ("sendMediaGroup", "cover", "video", "cover"),
        ("sendPoll", "media", "photo", "photo"),
        ("postStory", "photo", "photo", "upload"),
        ("setMyProfilePhoto", "animation", "animated", "upload"),
        ("uploadStickerFile", "sticker", None, "sticker_file"),
        ("sendHologram", "hologram", None, "upload"),
    ],
)
def test_each_file_has_the_kind_it_can_be_sent_as_again(
    method: str, field: str, media_type: str | None, kind: str
) -> None:
    assert file_kind(method, field, media_type) == kind


def test_file_tables_name_known_methods_only() -> None:
    assert set(FILE_FIELDS) <= set(METHODS)
