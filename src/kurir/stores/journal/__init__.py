"""The local journal: what is accepted while the store is away (`KURIR_SPOOL`)."""

from .journal import Contents, Entry, Journal

__all__ = ["Contents", "Entry", "Journal"]
