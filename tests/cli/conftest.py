"""The command line, in this process where that will do and in one of its own where signals matter."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kurir.cli import main
from kurir.simulator.harness import Telegram
from tests.serving import free_port

PATIENCE = 15.0  # seconds


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The documents, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Result]


@pytest.fixture
def cli(
    telegram: Telegram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cli]:
    """`cli("send", "42", "Hello")` with a SQLite store of its own and a simulated Telegram."""
    for name in [name for name in os.environ if name.startswith("KURIR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KURIR_BOT_TOKEN", telegram.token)
    monkeypatch.setenv("KURIR_TELEGRAM_URL", telegram.url)
    monkeypatch.setenv("KURIR_LISTEN", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    root, ours = logging.getLogger(), logging.getLogger("kurir")
    handlers, levels = root.handlers[:], (root.level, ours.level)

    def call(*args: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(args)
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    yield call
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


class Process:
    """`kurir ...` in a process of its own."""

    def __init__(self, *args: str, stdin: bytes | None = None) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "kurir", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._stdin = stdin

    def finish(self, timeout: float = PATIENCE) -> Result:
        """Wait for its end."""
        out, err = self.popen.communicate(self._stdin, timeout=timeout)
        return Result(self.popen.returncode, out.decode(), err.decode())

    def signal(self, number: signal.Signals) -> Result:
        self.popen.send_signal(number)
        return self.finish()


@pytest.fixture
def spawn(cli: Cli) -> Iterator[Callable[..., Process]]:
    """`spawn("worker")`; what still runs at the end is killed."""
    running: list[Process] = []

    def start(*args: str, stdin: bytes | None = None) -> Process:
        running.append(Process(*args, stdin=stdin))
        return running[-1]

    yield start
    for process in running:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.communicate()


def until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)
