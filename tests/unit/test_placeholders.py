"""Ids for messages that have not been sent yet: given, recognised, and replaced wherever the Bot API takes one."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir.core.placeholders import STEP, may_mention, meant, mentioned, placeholder, replaced

A, B = placeholder(12), placeholder(12, 3)


@given(st.integers(1, 2**40), st.integers(0, STEP - 1))
def test_a_placeholder_is_negative_and_says_what_it_stands_for(seq: int, item: int) -> None:
    id = placeholder(seq, item)
    assert id < 0
    assert meant(id) == meant(str(id)) == (seq, item)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, STEP - 1)), unique=True, max_size=50))
def test_no_two_are_alike(all: list[tuple[int, int]]) -> None:
    assert len({placeholder(*one) for one in all}) == len(all)


@pytest.mark.parametrize("value", [0, 5, -1, -9, "7", "", "-", "-x", "- 120", True, None, 3.5, [], "-" + "9" * 40])
def test_a_real_id_is_no_placeholder(value: Any) -> None:
    assert meant(value) is None


@pytest.mark.parametrize("step", [0, -1])
def test_there_is_none_for_what_was_never_stored(step: int) -> None:
    with pytest.raises(ValueError, match="no placeholder"):
        placeholder(step)


WAYS = [
    {"message_id": A},
    {"message_id": str(A)},
    {"message_ids": [5, A]},
    {"message_ids": json.dumps([A])},
    {"reply_parameters": {"message_id": A}},
    {"reply_parameters": json.dumps({"message_id": A})},
    {"reply_to_message_id": A},
]


@pytest.mark.parametrize("way", WAYS)
def test_it_is_found_and_replaced_wherever_an_id_stands(way: dict[str, Any]) -> None:
    params = {"chat_id": -100123, "text": "-120", **way}
    assert may_mention(orjson.dumps(params))
    assert mentioned(params) == {A}
    changed = replaced(params, {A: 77})
    assert mentioned(changed) == set()
    assert "77" in json.dumps(changed)
    assert changed["chat_id"] == -100123


@pytest.mark.parametrize(
    "params",
    [
        {"chat_id": -5, "text": "hi"},
        {"chat_id": -5, "message_id": 7},
        {"text": '"message_id":-120'},
        {"message_id": [1]},
    ],
)
def test_nothing_else_is_taken_for_one(params: dict[str, Any]) -> None:
    assert mentioned(params) == set()
    assert replaced(params, {}) == params


def test_of_what_was_never_sent_a_list_keeps_the_rest_and_a_reply_stands_alone() -> None:
    assert replaced({"message_ids": [A, B, 9]}, {A: None, B: 4})["message_ids"] == [4, 9]
    assert "reply_parameters" not in replaced({"reply_parameters": {"message_id": A}}, {A: None})
    assert replaced({"message_id": A}, {A: None})["message_id"] == A


@given(st.dictionaries(st.sampled_from(["message_id", "message_ids", "reply_parameters"]), st.text() | st.integers()))
def test_whatever_is_given_nothing_is_raised(params: dict[str, Any]) -> None:
    assert isinstance(replaced(params, dict.fromkeys(mentioned(params), 1)), dict)


ids = st.integers(-500, 500)
places = st.fixed_dictionaries(
    {"chat_id": st.integers(1, 9)},
    optional={
        "message_id": ids | ids.map(str),
        "message_ids": st.lists(ids, max_size=4) | st.lists(ids, max_size=4).map(json.dumps),
        "reply_parameters": st.builds(lambda id: {"message_id": id}, ids)
        | st.builds(
            lambda id, gap: json.dumps({"message_id": id}, separators=(",", gap)), ids, st.sampled_from([":", ": "])
        ),
        "reply_to_message_id": ids,
    },
)


@given(places)
def test_the_quick_look_overlooks_none(params: dict[str, Any]) -> None:
    if mentioned(params):
        assert may_mention(orjson.dumps(params))


def test_values_nested_without_end_are_no_placeholders() -> None:
    assert mentioned({"message_ids": "[" * 50_000 + "]" * 50_000}) == set()
