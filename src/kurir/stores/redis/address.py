"""Where the server is, as the URL says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from kurir.core.errors import InvalidSetting

FIELD = "KURIR_STORE"
CONNECT_SECONDS = 5.0  # for a connection to be made
VERB_SECONDS = 10.0  # for an answer
POOL = 16  # connections at most
_SCHEMES = ("redis", "rediss", "unix")
_PREFIX = re.compile(r"[\w.:-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """`url` is for redis-py, ours taken out of it. `shown` has no password."""

    url: str = field(repr=False)
    shown: str
    prefix: str = "kurir"  # of every key
    timeout: float = VERB_SECONDS
    pool: int = POOL
    wait_aof: bool = False  # answer a write only when the server has flushed it to disk (`WAITAOF`)


def parse(url: str) -> Address:
    """Raises InvalidSetting for what is no URL of a Redis server."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise _wrong("its scheme is none of a Redis server's", "Use redis://, rediss:// (TLS) or unix://.")
    _refuse_torn(parts)
    ours: dict[str, Any] = {}
    theirs = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in ("prefix", "timeout", "pool", "wait_aof"):
            ours[name] = _value(name, value)
        else:
            theirs.append((name, value))
    if parts.scheme == "unix" and not parts.path:
        raise _wrong("names no socket", "Write unix:///path/of/the.socket.")
    shown = f"{parts.scheme}://{_host(parts.netloc)}{unquote(parts.path)}"
    return Address(urlunsplit(parts._replace(query=urlencode(theirs))), shown, **ours)


def _refuse_torn(parts: SplitResult) -> None:
    """A password with a sign that means something in URLs would be taken for something else, and shown."""
    torn = bool(parts.fragment)
    if parts.scheme == "unix":
        torn = torn or (parts.netloc != "" and not parts.netloc.endswith("@"))
    else:
        torn = torn or "@" in parts.path or "@" in parts.query or not _has_port(parts)
    if torn:
        remedy = "Write / as %2F, # as %23, ? as %3F, @ as %40 and : as %3A in the password and the user's name."
        raise _wrong("it cannot be told where user, password, host and path begin and end", remedy)


def _has_port(parts: SplitResult) -> bool:
    """The port is a number, or there is none."""
    try:
        return parts.port is None or parts.port >= 0
    except ValueError:
        return False


def _host(netloc: str) -> str:
    return netloc.rpartition("@")[2]


def _value(name: str, value: str) -> Any:
    try:
        match name:
            case "prefix" if _PREFIX.fullmatch(value):
                return value
            case "timeout" if 0.1 <= float(value) <= 600:
                return float(value)
            case "pool" if 1 <= int(value) <= 1000:
                return int(value)
            case "wait_aof" if value in ("0", "1"):
                return value == "1"
    except ValueError:
        pass
    raise _wrong(
        f"{name}={value} cannot be",
        "prefix: letters, digits and . : - _; timeout: 0.1 to 600 s; pool: 1 to 1000 connections; wait_aof: 0 or 1.",
    )


def _wrong(what: str, remedy: str) -> InvalidSetting:
    return InvalidSetting(FIELD, what, remedy)
