"""`kurir send`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kurir.simulator.harness import Telegram
from kurir.simulator.model import ChatState

from .conftest import Cli, Process, until

Spawn = Callable[..., Process]


def sent(cli: Cli) -> Any:
    """The newest message."""
    return cli("list", "--json", "--limit", "1").json


def test_without_a_worker_it_is_accepted_and_says_so(cli: Cli) -> None:
    result = cli("send", "42", "Hello")
    assert result.code == 0
    assert result.out.startswith("accepted ")
    assert "start `kurir worker`" in result.out
    assert sent(cli)["state"] == "waiting"


def test_waiting_without_a_worker_delivers_by_itself(cli: Cli, telegram: Telegram) -> None:
    result = cli("send", "42", "Hello", "--wait")
    assert result.code == 0
    assert "delivered" in result.out
    assert telegram.texts(42) == ["Hello"]


def test_waiting_for_what_is_refused_exits_1_with_the_reason(cli: Cli, telegram: Telegram) -> None:
    telegram.close_chat(43, ChatState.BLOCKED)
    result = cli("send", "43", "Hello", "--wait")
    assert result.code == 1
    assert "bot was blocked by the user" in result.out


def test_waiting_gives_up_after_the_seconds_given(cli: Cli) -> None:
    result = cli("send", "42", "Hello", "--due", "+1h", "--wait=0.2")
    assert result.code == 1
    assert "not delivered after 0.2 s" in result.err


def test_a_group_and_a_text_that_begin_with_a_minus_need_no_dashes(cli: Cli) -> None:
    assert cli("send", "-100123", "- first\n- second").code == 0
    assert sent(cli)["params"] == {"chat_id": -100123, "text": "- first\n- second"}


def test_every_way_to_treat_a_message_arrives(cli: Cli) -> None:
    cli(
        "send", "@news", "x", "--parse-mode", "HTML", "--silent", "--priority", "high", "--key", "k1", "--due", "+1h",
        "--expires", "2999-01-01T00:00:00+03:00", "--delete-after", "10m", "--meta", "order=7", "--on-unknown", "hold",
        "--ordering", "strict", "--max-attempts", "3",
    )  # fmt: skip
    record = sent(cli)
    assert record["params"] == {"chat_id": "@news", "text": "x", "parse_mode": "HTML", "disable_notification": True}
    assert record["priority"] == "high"
    assert record["idempotency_key"] == "k1"
    assert record["due_at"] is not None
    assert record["expires_at"] == "2998-12-31T21:00:00.000Z"
    assert record["delete_after"] == 600
    assert record["metadata"] == {"order": "7"}
    assert (record["on_unknown"], record["ordering"], record["max_attempts"]) == ("hold", "strict", 3)


def test_a_file_goes_with_its_caption(cli: Cli, telegram: Telegram, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"cat" * 1000)
    assert cli("send", "42", "Look", "--photo", "cat.jpg", "--wait").code == 0
    (message,) = telegram.sent(42)
    assert (message.kind, message.text) == ("photo", "Look")


def test_several_files_make_an_album(cli: Cli, telegram: Telegram, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    assert cli("send", "42", "Both", "--photo", "a.jpg", "--photo", "b.jpg", "--wait").code == 0
    assert [message.kind for message in telegram.sent(42)] == ["photo", "photo"]


def test_any_method_takes_json_parameters(cli: Cli, telegram: Telegram) -> None:
    options = '[{"text": "yes"}, {"text": "no"}]'
    args = ("--method", "sendPoll", "--param", "question=Tea?", "--param", f"options={options}")
    assert cli("send", "-5", *args, "--wait").code == 0
    assert telegram.sent(-5)[0].kind == "poll"


def test_a_location_is_sent(cli: Cli, telegram: Telegram) -> None:
    assert cli("send", "42", "--location", "-33.86,151.2", "--wait").code == 0
    assert telegram.sent(42)[0].content["location"]["latitude"] == -33.86


def test_the_same_key_and_body_is_the_same_message(cli: Cli) -> None:
    first = cli("send", "42", "x", "--key", "k", "--json").json
    again = cli("send", "42", "x", "--key", "k", "--json").json
    assert again == {**first, "duplicate": True}


def test_a_missing_file_is_named_and_nothing_is_kept(cli: Cli) -> None:
    result = cli("send", "42", "--photo", "nowhere.jpg")
    assert result.code == 1
    assert "nowhere.jpg" in result.err
    assert cli("list", "--json").out == ""


# ---------------------------------------------------------------- many


def lines(count: int) -> str:
    return "".join(json.dumps({"chat_id": 42, "text": f"{n}", "idempotency_key": f"k{n}"}) + "\n" for n in range(count))


def test_lines_of_a_file_are_accepted_in_order(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(lines(1200))
    result = cli("send", "--from", "m.jsonl", "--json").json
    assert (result["accepted"], result["duplicates"], result["lines"]) == (1200, 0, 1200)
    found = cli("list", "--json", "--all", "--oldest-first").lines
    assert [record["params"]["text"] for record in found] == [str(n) for n in range(1200)]


def test_a_line_has_the_form_of_rest_too(cli: Cli, tmp_path: Path) -> None:
    body = {"method": "sendDice", "params": {"chat_id": 7}, "priority": "low", "metadata": {"a": 1}, "due_at": "+5m"}
    (tmp_path / "m.jsonl").write_text(json.dumps(body))
    assert cli("send", "--from", "m.jsonl", "--silent").code == 0
    record = sent(cli)
    assert (record["method"], record["priority"], record["metadata"]) == ("sendDice", "low", {"a": "1"})
    assert record["params"] == {"chat_id": 7, "disable_notification": True}


@pytest.mark.parametrize("bad", ['{"chat_id": "a b", "text": "x"}', "{nonsense", '{"params": {}, "colour": 1}'])
def test_a_bad_line_names_its_number_and_stops_before_its_batch(cli: Cli, tmp_path: Path, bad: str) -> None:
    (tmp_path / "m.jsonl").write_text(lines(700) + bad + "\n")
    result = cli("send", "--from", "m.jsonl")
    assert result.code == 1
    assert "line 701: " in result.err
    assert "500 lines before it are accepted" in result.err
    assert len(cli("list", "--json", "--all").lines) == 500


def test_a_run_that_stopped_can_be_run_again(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(lines(700) + "{nonsense\n")
    cli("send", "--from", "m.jsonl")
    (tmp_path / "m.jsonl").write_text(lines(700))
    result = cli("send", "--from", "m.jsonl", "--json").json
    assert (result["accepted"], result["duplicates"]) == (200, 500)


def test_a_slow_pipe_is_not_waited_for(cli: Cli, spawn: Spawn) -> None:
    process = spawn("send", "--from", "-")
    assert process.popen.stdin is not None
    process.popen.stdin.write(lines(3).encode())
    process.popen.stdin.flush()
    until(lambda: len(cli("list", "--json").lines) == 3, "three accepted while the pipe is open")
    assert process.finish().code == 0
