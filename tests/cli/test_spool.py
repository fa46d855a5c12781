"""The command line while the store is away: `kurir send` spools, `kurir spool` shows and forwards, `kurir serve` waits."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kurir.simulator.harness import Telegram
from tests.servers import RedisServer, first_redis
from tests.serving import answers

from .conftest import Cli, Process, until

Spawn = Callable[..., Process]


@pytest.fixture
def server(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """The store's server, not running yet."""
    with RedisServer(first_redis(), appendfsync="always") as server:
        server.stop()
        monkeypatch.setenv("KURIR_STORE", server.url)
        yield server


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KURIR_SPOOL", str(tmp_path / "spool.db"))
    return tmp_path / "spool.db"


def ready() -> int:
    """The status of /health/ready; 0: nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{os.environ['KURIR_LISTEN']}/health/ready", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_without_a_spool_a_send_fails_and_says_what_to_do(cli: Cli, server: RedisServer) -> None:
    result = cli("send", "42", "Hello")
    assert result.code == 1
    assert result.err.startswith("error:")
    assert "fix:" in result.err


def test_a_send_spools_says_so_and_the_next_process_forwards(
    cli: Cli, server: RedisServer, spool: Path, telegram: Telegram
) -> None:
    sent = cli("send", "42", "Hello")
    assert sent.code == 0
    assert "spooled on this machine" in sent.out
    told = cli("send", "42", "Hello again", "--json").json
    assert (told["spooled"], told["worker"], told["state"]) == (True, None, "waiting")
    assert cli("show", told["id"], "--json").json["reason"].startswith("spooled: ")
    assert cli("list").code == 1

    shown = cli("spool", "--json").json
    assert (shown["messages"], shown["stuck"]) == (2, 0)
    assert [item["params"]["text"] for item in shown["items"]] == ["Hello", "Hello again"]
    assert "2 messages wait in" in cli("spool").out
    away = cli("spool", "--forward")
    assert away.code == 1
    assert "error:" in away.err

    server.start()
    assert "2 messages went to the store" in cli("spool", "--forward").out
    assert "is empty" in cli("spool").out
    assert cli("send", "42", "The end", "--wait").code == 0
    assert telegram.texts(42) == ["Hello", "Hello again", "The end"]


def test_a_spooled_message_can_be_dropped_if_a_person_says_so(cli: Cli, server: RedisServer, spool: Path) -> None:
    ids = [cli("send", "42", text, "--json").json["id"] for text in ("one", "two", "three")]
    unsure = cli("spool", "--drop", ids[1])
    assert unsure.code == 2
    assert "--yes" in unsure.err
    assert cli("spool", "--drop", ids[0], "--forward").code == 2
    unknown = cli("spool", "--drop", "nobody", "--yes")
    assert unknown.code == 1
    assert "nobody" in unknown.err
    assert "1 dropped" in cli("spool", "--drop", ids[1], "--yes").out
    assert cli("spool", "--drop", ids[2], "--yes", "--json").json == {"dropped": [ids[2]]}
    assert [item["id"] for item in cli("spool", "--json").json["items"]] == ids[:1]


def test_doctor_says_why_the_store_is_away_and_what_the_spool_holds(cli: Cli, server: RedisServer, spool: Path) -> None:
    found = {(one["area"], one["level"]): one["what"] for one in cli("doctor", "--json").json["findings"]}
    assert "can be created" in found["spool", "ok"]
    assert not spool.exists()
    assert "refused" in found["store", "problem"]
    cli("send", "42", "Hello")
    found = {(one["area"], one["level"]): one["what"] for one in cli("doctor", "--json").json["findings"]}
    assert "refused" in found["store", "problem"]
    assert "1 messages wait" in found["spool", "warning"]
    assert cli("spool", "--json").json["messages"] == 1
    server.start()
    cli("doctor")
    assert cli("spool", "--json").json["messages"] == 1  # looking forwards nothing


def test_lines_are_spooled_in_their_order(cli: Cli, server: RedisServer, spool: Path, tmp_path: Path) -> None:
    lines = [f'{{"chat_id": 42, "text": "number {number}"}}' for number in range(700)]
    (tmp_path / "lines.jsonl").write_text("\n".join(lines))
    fed = cli("send", "--from", "lines.jsonl", "--json").json
    assert (fed["accepted"], fed["spooled"], fed["worker"]) == (700, 700, None)
    server.start()
    assert cli("spool", "--forward").code == 0
    listed = cli("list", "--all", "--oldest-first", "--json").lines
    assert [item["params"]["text"] for item in listed] == [f"number {number}" for number in range(700)]


def test_without_the_setting_there_is_no_spool_to_show(cli: Cli) -> None:
    result = cli("spool")
    assert result.code == 1
    assert "KURIR_SPOOL" in result.err


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_service_started_before_its_store_waits_for_it(
    command: str, cli: Cli, server: RedisServer, spawn: Spawn, telegram: Telegram
) -> None:
    service = spawn(command)
    until(lambda: ready() == 503, "health tells that the store is away")
    server.start()
    until(lambda: ready() == 200, "it goes on")
    assert cli("send", "42", "Hello", "--wait", "10").code == 0
    stopped = service.signal(signal.SIGTERM)
    assert stopped.code == 0
    assert "the store refused to open" in stopped.err
    assert "the store works again" in stopped.err


def test_a_spool_accepts_before_the_store_is_there_and_survives_sigkill(
    cli: Cli, server: RedisServer, spool: Path, spawn: Spawn, telegram: Telegram
) -> None:
    service = spawn("serve")
    url = f"http://{os.environ['KURIR_LISTEN']}"
    until(lambda: answers(f"{url}/health/ready"), "it is degraded, not dead")
    assert cli("send", "42", "one").code == 0
    request = urllib.request.Request(
        f"{url}/bot{telegram.token}/sendMessage?chat_id=42&text=two", headers={"Prefer": "wait=0"}, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError, match="504"):
        urllib.request.urlopen(request, timeout=10)
    service.signal(signal.SIGKILL)
    assert cli("spool", "--json").json["messages"] == 2
    server.start()
    spawn("serve")
    until(lambda: telegram.texts(42) == ["one", "two"], "both arrive in order")
