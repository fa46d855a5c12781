"""Where the store is: a libpq-style URL with three parameters of our own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from kurir.core.errors import InvalidSetting

_PORTS = re.compile(r"(?:(?:\[[^\]]*\]|[^,:\[\]]*)(?::\d*)?(?:,|$))*")  # of one host or several
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
FIELD = "KURIR_STORE"


@dataclass(frozen=True, slots=True)
class Address:
    """`dsn`: what the driver gets."""

    dsn: str
    name: str  # what errors call it: no password
    schema: str = "kurir"
    pool: int = 10  # connections at most
    timeout: float = 10.0  # seconds a verb may take


def parse(url: str) -> Address:
    """Raises InvalidSetting."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        where = _where(parts.hostname, parts.netloc, dict(query))
    except ValueError:
        raise InvalidSetting(FIELD, "is not a URL", "Write postgresql://user:password@host:5432/database") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise InvalidSetting(FIELD, "has another scheme", "Write postgresql://...")
    if (
        parts.fragment
        or "@" in parts.path
        or "@" in parts.query
        or not _PORTS.fullmatch(parts.netloc.rpartition("@")[2])
    ):
        raise InvalidSetting(  # a password with a sign that means something in URLs would be taken for something else
            FIELD,
            "cannot be told apart into user, password, host and path",
            "Write / as %2F, # as %23, ? as %3F, @ as %40 and : as %3A in the password and the user's name.",
        )
    ours = {name: value for name, value in query if name in ("schema", "pool", "timeout")}
    theirs = [(name, value) for name, value in query if name not in ours]
    schema = ours.get("schema", "kurir")
    if not _SCHEMA.fullmatch(schema):
        raise InvalidSetting(FIELD, f"has schema={schema!r}", "Use letters, digits and _, 63 at most.")
    if "," in parts.netloc and not any(name == "target_session_attrs" for name, _ in theirs):
        theirs.append(("target_session_attrs", "read-write"))  # of several servers, the one that takes what is written
    dsn = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(theirs), ""))
    pool, timeout = _number(ours, "pool", 10, 1, 1000), _number(ours, "timeout", 10, 0.1, 3600)
    return Address(dsn, f"PostgreSQL at {where}{parts.path}", schema, int(pool), timeout)


def _where(host: str | None, netloc: str, query: dict[str, str]) -> str:
    place = netloc.rpartition("@")[2]
    if "," in place:
        return place
    return place or query.get("host") or host or "localhost"


def _number(given: dict[str, str], name: str, default: float, least: float, most: float) -> float:
    try:
        number = float(given.get(name, default))
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise InvalidSetting(FIELD, f"has {name}={given[name]!r}", f"Give a number from {least:g} to {most:g}.")
    return number
