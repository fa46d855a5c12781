"""Servers under load, each a process of its own: `kurir serve`, and a bare Starlette application to stand beside it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .world import TOKEN

KEY = "a-key-of-the-benchmarks"
BARE = Path(__file__).parent / "peers" / "starlette_bare.py"
START, STOP = 20.0, 15.0  # seconds that a server gets
_TICK = os.sysconf("SC_CLK_TCK")


class Process:
    """A server's process, and what it has used so far."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.port = port

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU, user's and system's, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def resident(self) -> int:
        """Bytes of memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        raise LookupError("VmRSS")

    def gauge(self, name: str) -> float:
        """The sum of one metric over all its labels, as `/metrics` tells it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def ready(self) -> bool:
        """Does it answer? Raises RuntimeError when it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the server on port {self.port} ended with {self._process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/live", timeout=1):
                return True
        except OSError:
            return False


@contextmanager
def serve(folder: Path, telegram: str, *, courier: bool = True) -> Iterator[Process]:
    """`kurir serve` on a SQLite file in `folder`, limits off. `telegram`: the upstream's URL."""
    port = _free_port()
    command = [sys.executable, "-m", "kurir", "serve", "--listen", f"127.0.0.1:{port}"]
    if not courier:
        command.append("--no-courier")
    settings = {
        "KURIR_STORE": f"sqlite:///{folder / 'kurir.db'}",
        "KURIR_BOT_TOKEN": TOKEN,
        "KURIR_PACE": "off",
        "KURIR_TELEGRAM_URL": telegram,
        "KURIR_API_KEY": KEY,
        "KURIR_LOG_LEVEL": "error",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KURIR_")}
    with _running(command, {**inherited, **settings}, folder) as process:
        server = Process(process, port)
        until = time.monotonic() + START
        while not server.ready():
            if time.monotonic() > until:
                raise RuntimeError("kurir serve did not begin to answer")
            time.sleep(0.05)
        yield server


@contextmanager
def bare(telegram: str) -> Iterator[Process]:
    """The bare application, that forwards to `telegram`."""
    with _running([sys.executable, str(BARE), telegram], os.environ, BARE.parent) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        if not told:
            raise RuntimeError("the bare application did not start")
        yield Process(process, int(told))


@contextmanager
def _running(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, env=environ, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
