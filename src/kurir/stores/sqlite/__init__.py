"""The SQLite store: the default, nothing to set up. Several processes of one machine may share the file."""

from .store import SqliteStore

__all__ = ["SqliteStore"]
