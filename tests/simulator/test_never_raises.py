"""Whatever a client sends, the simulated server answers with an envelope."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kurir.simulator import Limits, ManualClock, World
from kurir.simulator.methods import METHODS

from .helpers import TOKEN

NAMES = (
    "chat_id", "message_id", "message_ids", "from_chat_id", "text", "caption", "parse_mode", "entities", "media",
    "photo", "reply_markup", "reply_parameters", "latitude", "longitude", "options", "question", "prices", "emoji",
    "reaction", "commands", "scope", "offset", "limit", "url", "message_thread_id", "user_id", "star_count",
    "live_period", "title", "description", "payload", "currency", "allowed_updates", "file_id", "action",
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=20)
    | st.sampled_from(["1", 1, "HTML", "MarkdownV2", "typing", "<b>", "[", "{}", "[1]", "attach://x", 1e400]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from((*NAMES, "type", "inline_keyboard", "offset", "length")), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(METHODS)), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
def test_every_call_is_answered_with_an_envelope(method: str, params: dict[str, Any]) -> None:
    world = World(ManualClock(), limits=Limits(), open_doors=True)
    world.add_bot(TOKEN)
    world.handle(TOKEN, "sendMessage", {"chat_id": 1, "text": "x"})
    response = world.handle(TOKEN, method, {"chat_id": 1, **params})
    assert response.payload["ok"] is (response.status == 200)
    assert "result" in response.payload or response.payload["error_code"] == response.status


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["HTML", "MarkdownV2", "Markdown"]), st.text("ab<>/&;=\"'\\_*[]()~`|!>\n\r #1😀", max_size=30))
def test_every_text_is_parsed_or_refused_in_words(mode: str, text: str) -> None:
    world = World(ManualClock(), limits=Limits.none(), open_doors=True)
    world.add_bot(TOKEN)
    answer = world.handle(TOKEN, "sendMessage", {"chat_id": 1, "text": text, "parse_mode": mode})
    if answer.status == 200:
        shown = answer.payload["result"]
        length = len(shown["text"].encode("utf-16-le")) // 2
        assert all(0 <= one["offset"] < one["offset"] + one["length"] <= length for one in shown.get("entities", []))
    else:
        assert answer.payload["description"].startswith("Bad Request: ")
