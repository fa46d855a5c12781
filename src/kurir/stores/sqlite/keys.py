"""API keys: `ports.KeyStore`."""

from __future__ import annotations

import sqlite3

from kurir.core.errors import StoreError
from kurir.ports import ApiKey

from .transaction import Q, Transaction


def add(tx: Transaction, key: ApiKey) -> None:
    """See `ports.KeyStore.add_key`."""
    if tx.db.execute(Q["api_key_exists"], (key.id, key.digest)).fetchone():
        raise StoreError(f"an API key {key.id}, or one with its secret, exists already", "Make another one.")
    values = (key.id, key.name, key.role, key.digest, key.created_at, key.revoked_at)
    tx.db.execute(Q["add_api_key"], values)


def all(db: sqlite3.Connection) -> list[ApiKey]:
    """See `ports.KeyStore.keys`."""
    return [ApiKey(*row) for row in db.execute(Q["api_keys"])]


def revoke(tx: Transaction, id: str, now: float) -> bool:
    """See `ports.KeyStore.revoke_key`."""
    return tx.db.execute(Q["revoke_api_key"], {"id": id, "now": now}).rowcount > 0
