"""`kurir worker` and `kurir simulator`, as processes."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from collections.abc import Callable

from kurir.simulator.harness import Telegram

from .conftest import Cli, Process, until

Spawn = Callable[..., Process]


def started(cli: Cli) -> bool:
    return any(bot["state"] == "sending" for bot in cli("status", "--json").json["bots"])


def test_a_worker_delivers_what_others_hand_over(cli: Cli, spawn: Spawn, telegram: Telegram) -> None:
    spawn("worker")
    until(lambda: started(cli), "a worker that sends")
    handed_over = cli("send", "42", "Hello")
    assert "no worker" not in handed_over.out
    telegram.wait_for(1, chat=42, timeout=10)


def test_waiting_uses_the_worker_that_runs(cli: Cli, spawn: Spawn) -> None:
    worker = spawn("worker")
    until(lambda: started(cli), "a worker that sends")
    assert cli("send", "42", "Hello", "--wait").code == 0
    assert str(worker.popen.pid) in cli("status", "--json").json["bots"][0]["holder"]


def test_sigterm_stops_cleanly_and_frees_the_bot(cli: Cli, spawn: Spawn) -> None:
    worker = spawn("worker")
    until(lambda: started(cli), "a worker that sends")
    begun = time.monotonic()
    result = worker.signal(signal.SIGTERM)
    assert result.code == 0
    assert time.monotonic() - begun < 10
    assert not started(cli)


def test_sigint_stops_as_well(cli: Cli, spawn: Spawn) -> None:
    worker = spawn("worker")
    until(lambda: started(cli), "a worker that sends")
    assert worker.signal(signal.SIGINT).code == 0


def test_a_second_signal_stops_at_once(cli: Cli, spawn: Spawn, telegram: Telegram) -> None:
    telegram.fail("hang")
    worker = spawn("worker")
    cli("send", "42", "never answered")
    until(lambda: cli("list", "--json").json["state"] == "sending", "a call in flight")
    worker.popen.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert worker.popen.stderr is not None
    while b"stopping" not in worker.popen.stderr.readline():
        assert worker.popen.poll() is None
    assert worker.signal(signal.SIGTERM).code == 128 + signal.SIGTERM
    assert time.monotonic() - begun < 5


def test_its_first_lines_say_what_it_does_and_no_token(cli: Cli, spawn: Spawn, telegram: Telegram) -> None:
    worker = spawn("worker", "--log", "lines")
    until(lambda: started(cli), "a worker that sends")
    said = worker.signal(signal.SIGTERM).err
    assert "sends for default (123456)" in said
    assert "store sqlite:///kurir.db" in said
    assert "30/s a bot, 1/s a chat (burst 3), 20/min a group" in said
    assert telegram.token not in said


def test_log_lines_are_json_where_nobody_watches(cli: Cli, spawn: Spawn) -> None:
    worker = spawn("worker")
    until(lambda: started(cli), "a worker that sends")
    for line in worker.signal(signal.SIGTERM).err.splitlines():
        assert {"time", "level", "logger", "message"} <= set(json.loads(line))


def test_without_a_token_it_says_how_to_set_one(cli: Cli, monkeypatch: object) -> None:
    monkeypatch.delenv("KURIR_BOT_TOKEN")  # type: ignore[attr-defined]
    result = cli("worker")
    assert result.code == 1
    assert "KURIR_BOT_TOKEN" in result.err
    assert "@BotFather" in result.err


def test_the_simulator_serves_until_it_is_told_to_stop(cli: Cli, spawn: Spawn) -> None:
    simulator = spawn("simulator", "--port", "0", "--token", "77:AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "--json")
    assert simulator.popen.stdout is not None
    url = json.loads(simulator.popen.stdout.readline())["url"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    with urllib.request.urlopen(f"{url}/bot77:AAAAAAAAAAAAAAAAAAAAAAAAAAAA/getMe") as answer:
        assert json.load(answer)["result"]["id"] == 77
    assert simulator.signal(signal.SIGTERM).code == 0
