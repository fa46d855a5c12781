"""The stores under contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kurir.ports import Store
from kurir.stores.memory import MemoryStore
from kurir.stores.sqlite import SqliteStore

# Makes a store in a folder of its own. Not opened yet.
STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "kurir.db"),
}
