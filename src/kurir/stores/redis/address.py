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
SENTINEL_PORT = 26379
_SCHEMES = ("redis", "rediss", "unix")
_SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
_OURS = ("prefix", "timeout", "pool", "wait_aof", "wait_replicas")
_PREFIX = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_SENTINEL = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?", re.ASCII)
_SERVICE = re.compile(r"/([\w.-]+)(?:/(\d{1,5}))?/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Watched:
    """A master that sentinels watch: they know its address. Their own user and password are other than the server's."""

    service: str  # as `sentinel monitor` names it
    sentinels: tuple[tuple[str, int], ...]  # hosts and ports
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """`url` is for redis-py, ours taken out of it. `shown` has no password."""

    url: str = field(repr=False)
    shown: str
    prefix: str = "kurir"  # of every key
    timeout: float = VERB_SECONDS
    pool: int = POOL
    wait_aof: bool = False  # answer a write only when the server has flushed it to disk (`WAITAOF`)
    wait_replicas: int = 0  # ... and when so many replicas have it (`WAIT`)
    watched: Watched | None = None  # the host in `url` is none, then: the sentinels name it


def parse(url: str) -> Address:
    """Raises InvalidSetting for what is no URL of a Redis server."""
    scheme = url.partition("://")[0]
    if scheme in _SENTINEL_SCHEMES:
        return _of_sentinels(scheme, url.removeprefix(f"{scheme}://"))
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _torn() from None
    if parts.scheme not in _SCHEMES:
        known = "redis://, rediss:// (TLS), unix://, redis+sentinel:// or rediss+sentinel://"
        raise _wrong("its scheme is none of a Redis server's", f"Use {known}.")
    _refuse_torn(parts)
    ours, theirs = _options(parts.query)
    if parts.scheme == "unix" and not parts.path:
        raise _wrong("names no socket", "Write unix:///path/of/the.socket.")
    shown = f"{parts.scheme}://{_host(parts.netloc)}{unquote(parts.path)}"
    return Address(urlunsplit(parts._replace(query=urlencode(theirs))), shown, **ours)


def _of_sentinels(scheme: str, rest: str) -> Address:
    """`rest`: [user:password@]host[:port],host[:port],.../service[/db][?...]"""
    place, _, query = rest.partition("?")
    before, slash, path = place.partition("/")
    user, at, hosts = before.rpartition("@")
    found = [_SENTINEL.fullmatch(host) for host in hosts.split(",")]
    if "@" in path or "@" in query or "#" in rest or not all(host and int(host[2] or 0) <= 65535 for host in found):
        raise _torn()
    service = _SERVICE.fullmatch(slash + path)
    if service is None:
        remedy = f"Write {scheme}://host:{SENTINEL_PORT},host2:{SENTINEL_PORT}/NAME, as `sentinel monitor NAME` has it."
        raise _wrong("names no service behind the sentinels' hosts, or no number of a database behind that", remedy)
    ours, theirs = _options(query)
    own = {name: value for name, value in theirs if name in ("sentinel_username", "sentinel_password")}
    theirs = [(name, value) for name, value in theirs if name not in own]
    sentinels = tuple((host[1].strip("[]"), int(host[2] or SENTINEL_PORT)) for host in found if host)
    watched = Watched(service[1], sentinels, own.get("sentinel_username"), own.get("sentinel_password"))
    url = f"{scheme.partition('+')[0]}://{user}{at}sentinel/{service[2] or 0}?{urlencode(theirs)}"
    shown = f"{scheme}://{hosts}/{service[1]}" + (f"/{service[2]}" if service[2] else "")
    return Address(url, shown, **ours, watched=watched)


def _options(query: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Ours, as `Address` has them, and redis-py's."""
    pairs = parse_qsl(query, keep_blank_values=True)
    ours = {name: _value(name, value) for name, value in pairs if name in _OURS}
    return ours, [(name, value) for name, value in pairs if name not in _OURS]


def _refuse_torn(parts: SplitResult) -> None:
    """A password with a sign that means something in URLs would be taken for something else, and shown."""
    torn = bool(parts.fragment)
    if parts.scheme == "unix":
        torn = torn or (parts.netloc != "" and not parts.netloc.endswith("@"))
    else:
        torn = torn or "@" in parts.path or "@" in parts.query or not _has_port(parts)
    if torn:
        raise _torn()


def _torn() -> InvalidSetting:
    remedy = "Write / as %2F, # as %23, ? as %3F, @ as %40 and : as %3A in the password and the user's name."
    return _wrong("it cannot be told where user, password, host and path begin and end", remedy)


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
            case "wait_replicas" if 0 <= int(value) <= 9:
                return int(value)
    except ValueError:
        pass
    raise _wrong(
        f"{name}={value} cannot be",
        "prefix: letters, digits and . : - _; timeout: 0.1 to 600 s; pool: 1 to 1000 connections; wait_aof: 0 or 1; "
        "wait_replicas: 0 to 9.",
    )


def _wrong(what: str, remedy: str) -> InvalidSetting:
    return InvalidSetting(FIELD, what, remedy)
