"""The gateway that the clients talk to: `kurir serve`, a process of its own in front of the simulated Telegram."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kurir.simulator.harness import Telegram
from tests.serving import answers, free_port

START = 30.0  # seconds within which it must be ready
END = 10.0  # seconds within which it must have ended after SIGTERM
# Many quick tries instead of waits of minutes: a network that loses 40 % of all calls loses ten in a row now and then.
RETRIES = f"[retry]\nquick = {[0.2] * 40}\n"


@dataclass(frozen=True, slots=True)
class Gateway:
    """`url`: what a client is given in place of https://api.telegram.org."""

    url: str
    token: str


@contextmanager
def gateway_to(telegram: Telegram, folder: Path, bot: str = "") -> Iterator[Gateway]:
    """A ready `kurir serve` with its store and its log in `folder`. Without limits, so that tests are quick.

    `bot`: more settings of the bot, in TOML. Raises AssertionError where it does not start, logs
    an error, or does not end when told.
    """
    (folder / "kurir.toml").write_text(f'{RETRIES}[bots.only]\ntoken = "{telegram.token}"\n{bot}')
    listen = f"127.0.0.1:{free_port()}"
    with (folder / "kurir.log").open("w+b") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kurir", "serve"],
            cwd=folder, env=_environ(telegram, folder, listen), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _await_ready(f"http://{listen}/health/ready", process, folder)
            yield Gateway(f"http://{listen}", telegram.token)
            process.terminate()
            assert process.wait(END) == 0, _tail(folder)
            _assert_no_error(folder)
        finally:
            process.kill()
            process.wait()


def _environ(telegram: Telegram, folder: Path, listen: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("KURIR_")}
    return own | {
        "KURIR_STORE": f"sqlite:///{folder / 'kurir.db'}",
        "KURIR_TELEGRAM_URL": telegram.url,
        "KURIR_LISTEN": listen,
        "KURIR_PACE": "off",
    }


def _await_ready(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + START
    while not answers(url):
        assert process.poll() is None, f"it ended with {process.returncode}: {_tail(folder)}"
        assert time.monotonic() < end, f"not ready after {START} s: {_tail(folder)}"
        time.sleep(0.05)


def _assert_no_error(folder: Path) -> None:
    for line in (folder / "kurir.log").read_text("utf8").splitlines():
        assert json.loads(line)["level"] in ("info", "warning"), line


def _tail(folder: Path) -> str:
    return (folder / "kurir.log").read_text("utf8", "replace")[-4000:]
