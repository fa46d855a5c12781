"""How a script tells what happened to it: a line of JSON on its standard output for each step."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHATS = {"text": 101, "photo": 102, "album": 103, "edit": 104, "delete": 105, "refused": 106, "blocked": 107,
         "flood": 108, "menu": 109, "long": 110}  # fmt: skip
LONG = "я" * 4096  # the most that a message holds: 8 kB, and 24 kB in a query string
MENU = {"inline_keyboard": [[{"text": "Press me", "callback_data": "pressed"}]]}


@dataclass(frozen=True, slots=True)
class Given:
    """What the test hands to a script on its command line."""

    url: str  # in place of https://api.telegram.org
    token: str
    folder: Path  # holds the pictures

    @classmethod
    def read(cls) -> Given:
        url, token, folder = sys.argv[1:4]
        return cls(url, token, Path(folder))

    @property
    def pictures(self) -> list[Path]:
        return sorted(self.folder.glob("*.jpg"))


def tell(step: str, **facts: Any) -> None:
    print(json.dumps({"step": step, **facts}, default=str), flush=True)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def step(name: str, work: Callable[[], Any], describe: Callable[[Exception], dict[str, Any]]) -> Any:
    """Do `work` (a function or a coroutine function) and tell what it gives, or how it failed."""
    try:
        result = work()
        if inspect.isawaitable(result):
            result = await result
    except Exception as error:
        tell(name, error={"class": type(error).__name__, **describe(error)})
        return None
    tell(name, result=result)
    return result
