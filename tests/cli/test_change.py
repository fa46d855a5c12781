"""`kurir retry`, `cancel`, `dead`, `prune`."""

from __future__ import annotations

import pytest

from kurir.simulator.harness import Telegram
from kurir.simulator.model import ChatState

from .conftest import Cli


@pytest.fixture
def dead(cli: Cli, telegram: Telegram) -> list[str]:
    """The ids of two dead messages, to a chat that is open again."""
    telegram.close_chat(43, ChatState.BLOCKED)
    ids = [cli("send", "43", f"dead {n}", "--wait", "--force", "--json").json["id"] for n in range(2)]
    telegram.close_chat(43, ChatState.OPEN)
    return ids


def states(cli: Cli) -> list[str]:
    return [record["state"] for record in cli("list", "--json", "--oldest-first").lines]


def test_a_dead_message_is_retried_by_id(cli: Cli, dead: list[str]) -> None:
    assert cli("retry", dead[0]).code == 0
    assert states(cli) == ["waiting", "dead"]


def test_all_dead_messages_are_retried(cli: Cli, dead: list[str]) -> None:
    assert cli("retry", "--all", "--yes", "--json").json == {"retried": 2, "ids": dead}
    assert states(cli) == ["waiting", "waiting"]


def test_a_waiting_message_cannot_be_retried(cli: Cli) -> None:
    id = cli("send", "42", "x", "--json").json["id"]
    result = cli("retry", id)
    assert result.code == 1
    assert "is waiting" in result.err


def test_a_waiting_message_is_cancelled(cli: Cli) -> None:
    id = cli("send", "42", "x", "--json").json["id"]
    assert cli("cancel", id).code == 0
    assert states(cli) == ["cancelled"]


def test_cancel_all_takes_only_what_matches(cli: Cli) -> None:
    cli("send", "42", "x")
    cli("send", "43", "y")
    assert cli("cancel", "--all", "--chat", "42", "--yes", "--json").json["cancelled"] == 1
    assert states(cli) == ["cancelled", "waiting"]


def test_all_without_a_person_to_ask_needs_yes(cli: Cli, dead: list[str]) -> None:
    for args in (("retry", "--all"), ("cancel", "--all"), ("dead", "purge")):
        result = cli(*args)
        assert result.code == 2
        assert "--yes" in result.err
    assert states(cli) == ["dead", "dead"]


def test_neither_ids_nor_all_is_a_wrong_usage(cli: Cli) -> None:
    assert cli("retry").code == 2
    assert cli("cancel", "x", "--all").code == 2


def test_dead_letters_are_listed_and_purged(cli: Cli, dead: list[str]) -> None:
    assert len(cli("dead", "list", "--json").lines) == 2
    assert cli("dead", "purge", "--older-than", "1h", "--yes", "--json").json["purged"] == 0
    assert cli("dead", "purge", "--yes", "--json").json["purged"] == 2
    assert cli("list").out == "nothing matches\n"


def test_dead_letters_are_retried(cli: Cli, dead: list[str]) -> None:
    assert cli("dead", "retry", "--chat", "43", "--yes").code == 0
    assert states(cli) == ["waiting", "waiting"]


def test_prune_removes_what_ended_before(cli: Cli, dead: list[str]) -> None:
    assert cli("prune").out.startswith("removed 0 messages")
    assert cli("prune", "--older-than", "0s").code == 2
    assert cli("prune", "--older-than", "0s", "--yes", "--json").json["pruned"] == 2
