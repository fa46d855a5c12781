"""From a URL to its store. Servers' libraries are extras: only what is asked for is imported."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from kurir.core.errors import InvalidSetting
from kurir.ports import FileStore, Store

from .memory import MemoryStore
from .sqlite import SqliteStore

SQLITE = "sqlite:///"
MEMORY = "memory://"
KNOWN = (
    "sqlite:///file.db, postgresql://user@host/database, redis://host, rediss://host, unix:///redis.sock, "
    "redis+sentinel://host,host2/service or memory://"
)


@dataclass(frozen=True, slots=True)
class _Server:
    """Where the store of a server is to be found, and what it needs."""

    module: str
    store: str
    extra: str
    libraries: tuple[str, ...]
    setting: str = "KURIR_STORE"


_POSTGRES = _Server("kurir.stores.postgres", "PostgresStore", "postgres", ("asyncpg",))
_REDIS = _Server("kurir.stores.redis", "RedisStore", "redis", ("redis", "msgpack"))
_S3 = _Server("kurir.stores.s3", "S3Blobs", "s3", ("aiobotocore",), "KURIR_FILES")
SERVERS = {
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
    "redis+sentinel": _REDIS,
    "rediss+sentinel": _REDIS,
}


def open_store(url: str) -> Store:
    """The store a URL names, not opened yet. Raises InvalidSetting, which never shows a password."""
    if url.startswith(SQLITE) and not url.endswith("/"):
        return SqliteStore(Path(url.removeprefix(SQLITE)))
    if url == MEMORY:
        return MemoryStore()
    scheme, separator, rest = url.partition("://")
    if separator and rest and (server := SERVERS.get(scheme)):
        return cast("Store", _of_server(server, scheme, url))
    what = f"{scheme}://... is no store we know" if separator and scheme.isalnum() else "is no store's URL"
    raise InvalidSetting("KURIR_STORE", what, f"Use {KNOWN}.")


def open_files(url: str) -> FileStore:
    """The store for files that an s3:// URL names. Raises InvalidSetting."""
    return cast("FileStore", _of_server(_S3, "s3", url))


def is_server(url: str) -> bool:
    """Several machines can share the store at this URL."""
    return url.partition("://")[0] in SERVERS


def sqlite_path(url: str) -> Path | None:
    """The SQLite file at this URL, if it is one."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def _of_server(server: _Server, scheme: str, url: str) -> object:
    try:
        module = importlib.import_module(server.module)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in server.libraries:
            raise
        raise InvalidSetting(
            server.setting,
            f"{scheme}:// needs the library {library}, which is not installed",
            f"Install it: pip install 'kurir[{server.extra}]'.",
        ) from None
    opened: object = getattr(module, server.store)(url)
    return opened
