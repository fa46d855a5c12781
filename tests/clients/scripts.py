"""Bots and clients in processes of their own. They tell what happens in lines of JSON on their standard output."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .serving import Gateway

ROOT = Path(__file__).parents[2]
BOTS = "tests.clients.bots"
NODE = Path(__file__).parent / "node"

Line = dict[str, Any]


class Script:
    """A running script. `lines` is everything it has told so far."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.lines: list[Line] = []
        self._process = process
        self._errors = errors
        self._news: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def until(self, step: str, timeout: float = 30.0) -> Line:
        """Wait (seconds) for the line about `step`. Raises AssertionError where the script ends or hangs before."""
        end = time.monotonic() + timeout
        while True:
            try:
                line = self._news.get(timeout=max(end - time.monotonic(), 0.0))
            except queue.Empty:
                raise AssertionError(f"no word of {step!r} in {timeout} s; {self.state}") from None
            if line is None:
                raise AssertionError(f"it ended before {step!r}; {self.state}")
            self.lines.append(line)
            if line["step"] == step:
                return line

    def ends(self, timeout: float = 20.0) -> None:
        """Wait (seconds) for its end. Raises AssertionError where it hangs or fails."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s; {self.state}") from None
        self._reader.join(timeout)
        while line := self._news.get():
            self.lines.append(line)
        assert code == 0, self.state

    @property
    def state(self) -> str:
        """What it told and complained of."""
        self._errors.seek(0)
        return f"it told {self.lines} and wrote {self._errors.read()[-4000:]}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._news.put(json.loads(line))
        self._news.put(None)


@contextmanager
def running(command: Sequence[str], gateway: Gateway, folder: Path) -> Iterator[Script]:
    """The script of `command`, told of the gateway and of a folder that may hold files for it; killed at the end."""
    with (folder / "errors.txt").open("w+") as errors:
        process = subprocess.Popen(
            [*command, gateway.url, gateway.token, str(folder)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        with process:
            try:
                yield Script(process, errors)
            finally:
                process.kill()


def python(name: str) -> list[str]:
    return [sys.executable, "-m", f"{BOTS}.{name}"]
