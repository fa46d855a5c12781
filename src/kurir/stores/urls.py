"""From a URL to its store. Servers' libraries are extras: only what is asked for is imported."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from kurir.core.errors import InvalidSetting
from kurir.ports import Store

from .memory import MemoryStore
from .sqlite import SqliteStore

SQLITE = "sqlite:///"
MEMORY = "memory://"
KNOWN = (
    "sqlite:///file.db, postgresql://user@host/database, redis://host, rediss://host, unix:///redis.sock or memory://"
)


@dataclass(frozen=True, slots=True)
class _Server:
    """Where the store of a server is to be found, and what it needs."""

    module: str
    store: str
    extra: str
    library: str


_POSTGRES = _Server("kurir.stores.postgres", "PostgresStore", "postgres", "asyncpg")
_REDIS = _Server("kurir.stores.redis", "RedisStore", "redis", "redis")
SERVERS = {
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
}


def open_store(url: str) -> Store:
    """The store a URL names, not opened yet. Raises InvalidSetting, which never shows a password."""
    if url.startswith(SQLITE) and not url.endswith("/"):
        return SqliteStore(Path(url.removeprefix(SQLITE)))
    if url == MEMORY:
        return MemoryStore()
    scheme, separator, rest = url.partition("://")
    if separator and rest and (server := SERVERS.get(scheme)):
        return _of_server(server, scheme, url)
    what = f"{scheme}://... is no store we know" if separator and scheme.isalnum() else "is no store's URL"
    raise InvalidSetting("KURIR_STORE", what, f"Use {KNOWN}.")


def is_server(url: str) -> bool:
    """Several machines can share the store at this URL."""
    return url.partition("://")[0] in SERVERS


def sqlite_path(url: str) -> Path | None:
    """The SQLite file at this URL, if it is one."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def _of_server(server: _Server, scheme: str, url: str) -> Store:
    try:
        module = importlib.import_module(server.module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != server.library:
            raise
        raise InvalidSetting(
            "KURIR_STORE",
            f"{scheme}:// needs the library {server.library}, which is not installed",
            f"Install it: pip install 'kurir[{server.extra}]'.",
        ) from None
    return cast("Store", getattr(module, server.store)(url))
