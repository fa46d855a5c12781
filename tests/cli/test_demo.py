"""`kurir demo`, in small; the whole is `make demo`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from kurir.cli.demo.cast import make_plan
from kurir.cli.demo.verdict import excuses

from .conftest import Process, until

Spawn = Callable[..., Process]


def entry(chat: int, mark: str, arrived: float, answer_lost: bool) -> dict[str, object]:
    return {"verb": "sent", "chat": chat, "mark": mark, "arrived": arrived, "answer_lost": answer_lost}


def test_a_plan_is_made_of_every_kind_to_at_least_120_chats(tmp_path: Path) -> None:
    plan = make_plan(1, 600, tmp_path)
    assert len(plan.lines) >= 400
    assert len({line.chat for line in plan.lines}) >= 120
    methods = {line.message.method for line in plan.lines}
    assert len(methods) == 9


def test_a_seed_makes_the_same_plan(tmp_path: Path) -> None:
    assert make_plan(7, 300, tmp_path).expected() == make_plan(7, 300, tmp_path).expected()


def test_marks_are_unique_in_their_chat(tmp_path: Path) -> None:
    lines = make_plan(1, 600, tmp_path).lines
    assert len({(line.chat, line.mark) for line in lines}) == len(lines)


def test_a_copy_is_excused_by_a_lost_answer_or_once_a_lane_by_a_kill() -> None:
    entries = [
        entry(1, "a", 10.0, True),
        entry(1, "a", 11.0, False),  # the answer to the first was lost
        entry(2, "b", 49.9, False),
        entry(2, "b", 51.0, False),  # in flight at the kill
        entry(2, "c", 49.95, False),
        entry(2, "c", 52.0, False),  # a second one of that lane
        entry(3, "d", 60.0, False),
        entry(3, "d", 61.0, False),  # nothing excuses it
    ]
    assert excuses(entries, [50.0]) == (1, 1, ["'c' to 2", "'d' to 3"])


def test_it_cleans_up_when_it_is_interrupted(spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    demo = spawn("demo", "--json")
    until(lambda: any(tmp_path.glob("kurir-demo-*/kurir.db")), "a demo that runs")
    assert demo.signal(signal.SIGINT).code == 130
    assert not list(tmp_path.glob("kurir-demo-*"))


def test_every_promise_is_kept_in_a_short_one(spawn: Spawn) -> None:
    demo = spawn("demo", "--json", "--messages", "200", "--scale", "0.08").finish(timeout=80)
    assert demo.json["broken"] == []
    assert demo.code == 0
