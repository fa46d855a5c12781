"""`kurir status`, `list`, `show`."""

from __future__ import annotations

import pytest

from kurir.simulator.harness import Telegram
from kurir.simulator.model import ChatState

from .conftest import Cli


@pytest.fixture
def three(cli: Cli, telegram: Telegram) -> Cli:
    """One delivered, one dead, one waiting."""
    telegram.close_chat(43, ChatState.BLOCKED)
    cli("send", "42", "delivered", "--wait", "--meta", "order=1")
    cli("send", "43", "dead", "--wait", "--priority", "high")
    cli("send", "44", "waiting", "--due", "+1h")
    return cli


def test_status_counts_and_says_that_nobody_sends(three: Cli) -> None:
    shown = three("status").out
    assert "no worker" in shown
    assert "50.0%" in shown
    (bot,) = three("status", "--json").json["bots"]
    assert (bot["waiting"], bot["delivered"], bot["dead"], bot["success_rate"]) == (1, 1, 1, 0.5)


def test_status_names_bots_that_have_sent_nothing_yet(cli: Cli) -> None:
    assert "default" in cli("status").out


def test_status_shows_a_pause_and_its_reason(cli: Cli) -> None:
    cli("pause", "default", "--for", "10m", "--reason", "inventory")
    assert "paused until" in cli("status").out
    assert cli("status", "--json").json["bots"][0]["paused_why"] == "inventory"
    cli("resume", "default")
    assert cli("status", "--json").json["bots"][0]["state"] == "no worker"


def test_a_paused_bot_sends_nothing(cli: Cli) -> None:
    cli("pause", "default")
    assert cli("send", "42", "Hello", "--wait=0.5").code == 1


@pytest.mark.parametrize(
    ("filters", "texts"),
    [
        (["--state", "dead"], ["dead"]),
        (["--state", "waiting", "--state", "delivered"], ["waiting", "delivered"]),
        (["--chat", "42"], ["delivered"]),
        (["--meta", "order=1"], ["delivered"]),
        (["--priority", "high"], ["dead"]),
        (["--since", "1h"], ["waiting", "dead", "delivered"]),
        (["--until", "1h"], []),
        (["--method", "sendphoto"], []),
        (["--limit", "1", "--oldest-first"], ["delivered"]),
    ],
)
def test_list_filters(three: Cli, filters: list[str], texts: list[str]) -> None:
    assert [record["params"]["text"] for record in three("list", "--json", *filters).lines] == texts


def test_list_shows_a_table_with_the_reason(three: Cli) -> None:
    shown = three("list").out
    assert "bot was blocked by the user" in shown
    assert "in 60m" in shown or "in 1h00m" in shown


def test_show_tells_the_whole_story(three: Cli) -> None:
    id = three("list", "--state", "dead", "--json").json["id"]
    shown = three("show", id).out
    for words in ("accepted", "attempt 1: refused", "HTTP 403", "dead", '"text": "dead"'):
        assert words in shown


def test_show_as_json_has_attempts_and_result(three: Cli) -> None:
    id = three("list", "--state", "delivered", "--json").json["id"]
    record = three("show", id, "--json").json
    assert record["result"]["text"] == "delivered"
    (attempt,) = record["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["status"]) == (1, "delivered", 200)
    assert set(attempt) == {"number", "started_at", "duration_ms", "outcome", "status", "error"}
