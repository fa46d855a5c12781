"""A bot's token is its password: it stays out of whatever people or logs may read."""

from __future__ import annotations

import re
from typing import Final

# All lengths are bounded: the time must grow no faster than the text, whoever wrote it.
_TOKEN: Final = re.compile(r"(?<!\d)\d{5,20}(?::|%3[Aa])[A-Za-z0-9_-]{20,}")
_PATH: Final = re.compile(r"(/bot)[^/\s\"'<>?#]{1,200}(?=/)")
_USERINFO: Final = re.compile(r"(://)[^/\s@:]{0,256}:[^/\s@]{0,1024}@")


def redact(text: str) -> str:
    """The text without bot tokens (`12345:ABC...`, `/bot<token>/`) and without passwords in URLs."""
    text = _TOKEN.sub("<token>", text)
    text = _PATH.sub(r"\1<token>", text)
    return _USERINFO.sub(r"\1<user>@", text)
