"""API keys."""

from __future__ import annotations

from dataclasses import replace

from kurir.core.errors import StoreError
from kurir.ports import ApiKey


class Keys:
    """API keys by id, in order of their making."""

    def __init__(self) -> None:
        self._by_id: dict[str, ApiKey] = {}

    def add(self, key: ApiKey) -> None:
        if any(key.id == other.id or key.digest == other.digest for other in self._by_id.values()):
            raise StoreError(f"an API key {key.id}, or one with its secret, exists already", "Make another one.")
        self._by_id[key.id] = key

    def restore(self, key: ApiKey) -> None:
        """Keep a key as it is told."""
        self._by_id[key.id] = key

    def all(self) -> list[ApiKey]:
        return sorted(self._by_id.values(), key=lambda key: key.created_at)

    def revoke(self, id: str, now: float) -> bool:
        key = self._by_id.get(id)
        if key is None or key.revoked_at is not None:
            return False
        self._by_id[id] = replace(key, revoked_at=now)
        return True
