"""A bot's token is its password: it stays out of whatever people or logs may read."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"\d{5,}(?::|%3[Aa])[A-Za-z0-9_-]{20,}")
_PATH: Final = re.compile(r"(/bot)[^/\s\"'<>?#]+(?=/)")
_USERINFO: Final = re.compile(r"(\w+://)[^/\s@]*:[^/\s@]*@")


def redact(text: str) -> str:
    """The text without bot tokens (`12345:ABC...`, `/bot<token>/`) and without passwords in URLs."""
    text = _TOKEN.sub("<token>", text)
    text = _PATH.sub(r"\1<token>", text)
    return _USERINFO.sub(r"\1<user>@", text)
