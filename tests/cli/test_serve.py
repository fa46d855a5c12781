"""`kurir serve`, and what `kurir worker` shows of itself, as processes."""

from __future__ import annotations

import json
import os
import select
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from kurir.simulator.harness import Telegram

from .conftest import Cli, Process, until

Spawn = Callable[..., Process]


def fetch(path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """Status and text; 0 while nobody listens."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://{os.environ['KURIR_LISTEN']}{path}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def ready() -> bool:
    status, text = fetch("/health/ready")
    return status == 200 and json.loads(text)["status"] == "ok"


def test_serve_opens_all_doors_and_sends(cli: Cli, spawn: Spawn, telegram: Telegram) -> None:
    key = cli("keys", "add", "shop", "--role", "send", "--json").json["key"]
    process = spawn("serve")
    until(ready, "ready")
    status, text = fetch(f"/bot{telegram.token}/sendMessage", {"chat_id": 42, "text": "by the gateway"})
    assert (status, json.loads(text)["result"]["text"]) == (200, "by the gateway")
    message = {"method": "sendMessage", "params": {"chat_id": 43, "text": "by REST"}}
    assert fetch("/v1/messages", message, Authorization=f"Bearer {key}")[0] == 202
    telegram.wait_for(1, chat=43, timeout=10)
    assert 'kurir_submitted_total{bot="default",priority="normal"} 2.0' in fetch("/metrics")[1]
    result = process.signal(signal.SIGTERM)
    assert result.code == 0
    assert key not in result.err + result.out
    assert telegram.token not in result.err + result.out


def test_a_worker_shows_health_and_metrics_and_no_other_door(cli: Cli, spawn: Spawn, telegram: Telegram) -> None:
    spawn("worker")
    until(ready, "ready")
    assert "kurir_build_info" in fetch("/metrics")[1]
    assert fetch("/health/live")[0] == 200
    assert fetch(f"/bot{telegram.token}/getMe")[0] == 404
    assert fetch("/v1/stats")[0] == 404


def test_a_second_worker_on_the_same_address_stands_by_without_a_door(cli: Cli, spawn: Spawn) -> None:
    first = spawn("worker")
    until(ready, "ready")
    second = spawn("worker", "--log", "lines")
    until(lambda: _waits(second), "the second worker's signal handlers")
    assert first.signal(signal.SIGTERM).code == 0
    until(lambda: str(second.popen.pid) in str(cli("status", "--json").json["bots"][0]["holder"]), "a standby")
    assert "no health and metrics" in second.signal(signal.SIGTERM).err


def _waits(process: Process) -> bool:
    """Has it said that it cannot listen? Then it is at work."""
    assert process.popen.stderr is not None
    return bool(select.select([process.popen.stderr], [], [], 0)[0])


def test_an_address_that_is_taken_is_an_error_with_a_remedy(cli: Cli, spawn: Spawn) -> None:
    spawn("serve")
    until(ready, "ready")
    result = spawn("serve").finish()
    assert result.code == 1
    assert "KURIR_LISTEN" in result.err
    assert "Choose another address" in result.err
