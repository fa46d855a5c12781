"""`kurir status`, `doctor`, `worker` and `/health/ready` on a store that several machines share."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers import RedisServer

from .conftest import Cli, Process, until

Spawn = Callable[..., Process]


@pytest.fixture
def there(cli: Cli, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, with a store on each kind of server in turn."""
    monkeypatch.setenv("KURIR_STORE", server_url)
    return cli


def findings(cli: Cli, area: str) -> list[Any]:
    return [f for f in cli("doctor", "--json").json["findings"] if f["area"] == area]


def the_worker(cli: Cli) -> Any:
    """The one there is, once it sends."""
    found: list[Any] = []

    def sends() -> bool:
        found[:] = cli("status", "--json").json["workers"]
        return any(worker["sends_for"] == 1 for worker in found)

    until(sends, "a worker that sends")
    [worker] = found
    return worker


def test_status_tells_the_engine_its_durability_and_who_sends(there: Cli, spawn: Spawn) -> None:
    spawn("worker")
    told = the_worker(there)
    assert told["could_send_for"] == 1
    assert told["alive_until"]
    store = there("status", "--json").json["store"]
    assert store["engine"].startswith(("PostgreSQL ", "Redis ", "Valkey "))
    assert store["durability"]
    shown = there("status").out
    assert store["engine"] in shown
    assert "1 worker: " in shown
    assert f"{told['holder']} sends for 1 bot" in shown


def test_status_without_a_worker_says_so(there: Cli) -> None:
    there("send", "42", "x")
    assert there("status", "--json").json["workers"] == []
    assert "no worker" in there("status").out


def test_doctor_tells_what_a_crash_can_cost_whether_clocks_agree_and_who_sends(there: Cli, spawn: Spawn) -> None:
    spawn("worker")
    the_worker(there)
    assert there("doctor").code == 0
    levels = {(f["area"], f["level"]) for f in there("doctor", "--json").json["findings"]}
    assert levels >= {("store", "ok"), ("durability", "ok"), ("workers", "ok")}
    assert any("differ by" in f["what"] for f in findings(there, "clock"))
    assert any("sends for 1 bot" in f["what"] for f in findings(there, "workers"))


def test_a_clock_that_is_minutes_off_is_a_warning(there: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + 300)
    said = [f for f in findings(there, "clock") if "the store's" in f["what"]]
    assert [f["level"] for f in said] == ["warning"]
    assert "5m" in said[0]["what"]
    assert "ahead of" in said[0]["what"]


def test_a_pause_lasts_as_long_as_it_was_told_whatever_the_machine_thinks_it_is(
    there: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() - 300)
    there("pause", "default", "--for", "1m")
    monkeypatch.setattr(time, "time", true)
    assert there("status", "--json").json["bots"][0]["state"] == "paused"


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:s3cret@127.0.0.1:9/db?password=s3cret&timeout=1", "redis://:s3cret@127.0.0.1:9/0?timeout=1"],
)
def test_a_server_that_is_not_there_is_a_problem_told_without_its_password(
    cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KURIR_STORE", url)
    result = cli("doctor", "--json")
    assert result.code == 1
    assert [f["level"] for f in result.json["findings"] if f["area"] == "store"] == ["problem"]
    for said in (result.out, result.err, *(cli(*command).err for command in (["status"], ["send", "42", "x"]))):
        assert "s3cret" not in said


def test_a_server_that_may_forget_makes_health_degraded_and_doctor_warn(
    cli: Cli, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(options={"appendonly": "no"}) as server:
        monkeypatch.setenv("KURIR_STORE", server.url)
        spawn("worker")
        the_worker(cli)
        with urllib.request.urlopen(f"http://{os.environ['KURIR_LISTEN']}/health/ready", timeout=5) as answer:
            body = json.load(answer)
        assert answer.status == 200
        assert body["status"] == "degraded"
        [check] = [check for check in body["checks"] if check["name"] == "durability"]
        assert check["remedy"]
        assert "warning" in [f["level"] for f in findings(cli, "durability")]
        assert "warning: " in cli("status").out
