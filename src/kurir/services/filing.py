"""Where files of messages go: what the settings say, chosen."""

from __future__ import annotations

from pathlib import Path

from kurir.ports import BlobStore, Clock, Store
from kurir.stores.sqlite import SqliteStore
from kurir.stores.urls import open_files
from kurir.telegram.shared_spool import SharedSpool, cache_folder
from kurir.telegram.spool import Spool


def file_spool(files: Path | str | None, store: Store, clock: Clock, url: str | Store) -> Spool | None:
    """The spool: a folder or bucket that is set, else a folder beside the SQLite file, else the store itself (known by
    `url`). Raises InvalidSetting."""
    if isinstance(files, str):
        bucket = open_files(files)
        return SharedSpool(cache_folder(files), bucket, clock, close=bucket.close, where=str(bucket))
    if files is not None:
        return Spool(files)
    if isinstance(store, SqliteStore):
        return Spool(store.path.with_name(f"{store.path.name}.files"))
    if isinstance(store, BlobStore):
        return SharedSpool(cache_folder(url if isinstance(url, str) else type(store).__name__), store, clock)
    return None
