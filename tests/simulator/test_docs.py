"""docs/simulator.md says what is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from kurir.simulator import ChatState, Kind
from kurir.simulator.control import ROUTES
from kurir.simulator.harness import Telegram

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_every_control_route_is_documented_and_no_other() -> None:
    shown = {f"{verb} {noun}" for verb, noun in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) /sim/([a-z-]+)", PAGE)}
    assert shown == set(ROUTES)


def test_every_kind_of_fault_and_state_of_a_chat_is_documented() -> None:
    for word in (*Kind, *ChatState):
        assert f"`{word}`" in PAGE, word


def test_every_method_of_the_fixture_is_documented() -> None:
    own = [name for name, _ in inspect.getmembers(Telegram) if not name.startswith("_")]
    for name in set(own) - {"start", "stop"}:
        assert re.search(rf"`{name}[`(]", PAGE), name
