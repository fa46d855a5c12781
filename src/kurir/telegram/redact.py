"""A bot's token is its password: it stays out of whatever people or logs may read."""

from __future__ import annotations

import re
from typing import Final

# All lengths are bounded: the time must grow no faster than the text, whoever wrote it.
_TOKEN: Final = re.compile(r"(?<!\d)\d{5,20}(?::|%3[Aa])[A-Za-z0-9_-]{20,}")
_PATH: Final = re.compile(r"(/bot)[^/\s\"'<>?#]{1,200}(?=/)")
_USERINFO: Final = re.compile(r"(://)[^/\s@:]{0,256}:[^/\s@]{0,1024}@")

# A store's password is often not escaped as it should be: what stands between the scheme and the last @ is taken for one.
_STORE: Final = re.compile(r"((?:postgres(?:ql)?|rediss?(?:\+sentinel)?|unix)://)[^\s/@:]{0,256}:[^\s]{0,1024}@")
_PASSWORD: Final = re.compile(r"([?&](?:ssl_?|sentinel_)?password=)[^&\s#]{1,1024}")


def redact(text: str) -> str:
    """The text without bot tokens (`12345:ABC...`, `/bot<token>/`) and without passwords in URLs."""
    text = _TOKEN.sub("<token>", text)
    text = _PATH.sub(r"\1<token>", text)
    text = _STORE.sub(r"\1<user>@", text)
    text = _PASSWORD.sub(r"\1<password>", text)
    return _USERINFO.sub(r"\1<user>@", text)
