"""A library's script from its start to its end, and the user whom it serves."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kurir.simulator.harness import Telegram

from .bots.telling import CHATS
from .libraries import Library
from .scripts import Line, running
from .serving import gateway_to

PATIENCE = 15.0  # seconds
SIZES = {"one": 3_000, "two": 200_000}  # bytes of the pictures
FLOOD = {"status": 429, "description": "Too Many Requests: retry after 2", "retry_after": 2}

# Nothing is waited for: every send is answered with a placeholder.
HURRIED = "wait = 0\nrespond_async = true\n"
SENDS = ("sendMessage", "sendPhoto", "sendMediaGroup")
TAKES = 0.2  # seconds that Telegram takes for a send to a hurried bot


@dataclass(frozen=True)
class Story:
    """What a library's script told, and the Telegram that it left behind."""

    library: Library
    telegram: Telegram
    folder: Path  # the pictures
    lines: dict[str, Line]  # by step

    def result(self, step: str) -> Any:
        """What came of the step. Fails where the library raised."""
        line = self.lines[step]
        assert "error" not in line, line
        return line["result"]

    def error(self, step: str) -> Any:
        """What the library raised: its class, words, code, retry_after."""
        line = self.lines[step]
        assert "error" in line, line
        return line["error"]

    @property
    def pictures(self) -> list[Path]:
        return sorted(self.folder.glob("*.jpg"))


def play(library: Library, command: Sequence[str], telegram: Telegram, folder: Path, *, hurried: bool = False) -> Story:
    """Let the script do everything once. `hurried`: Kurir answers at once, with placeholders, and Telegram is slow."""
    for name, size in SIZES.items():
        (folder / f"{name}.jpg").write_bytes(random.Random(name).randbytes(size))
    telegram.close_chat(CHATS["blocked"], "blocked")
    telegram.fail("status_json", method="getChat", chat=CHATS["flood"], **FLOOD)
    if hurried:
        for method in SENDS:
            telegram.fail("slow", method=method, seconds=TAKES)
    with (
        gateway_to(telegram, folder, HURRIED if hurried else "") as gateway,
        running(command, gateway, folder) as script,
    ):
        script.until("polling")
        _await_poll(telegram)
        telegram.say(CHATS["menu"], "something")
        script.until("message")
        (menu, *_) = telegram.wait_for(1, CHATS["menu"])
        telegram.press(CHATS["menu"], menu.id, "pressed")
        script.until("press")
        script.ends()
        if hurried:
            _await_quiet(telegram)
        return Story(library, telegram, folder, {line["step"]: line for line in script.lines})


def _await_poll(telegram: Telegram) -> None:
    """Until a getUpdates waits at Telegram."""
    end = time.monotonic() + PATIENCE
    while not telegram.do(lambda world: world.bots[telegram.token].listeners):
        assert time.monotonic() < end, f"nobody polls after {PATIENCE} s"
        time.sleep(0.01)


def _await_quiet(telegram: Telegram) -> None:
    """Until nothing has come in for several times as long as a send takes."""
    while telegram.calls()[-1].at > time.time() - 5 * TAKES:
        time.sleep(TAKES)
