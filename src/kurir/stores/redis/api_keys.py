"""API keys."""

from __future__ import annotations

from typing import Any

import orjson

from kurir.core.errors import StoreError
from kurir.ports import ApiKey

from .calls import Calls
from .msgpack import unpack


class ApiKeys:
    """`ports.KeyStore`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._table = calls.keys.of_store("apikeys")
        self._digests = calls.keys.of_store("digests")

    async def add(self, key: ApiKey) -> None:
        """See `ports.KeyStore.add_key`."""
        told = orjson.dumps([key.name, key.role, key.digest.hex(), key.created_at])
        revoked = "" if key.revoked_at is None else repr(key.revoked_at)

        async def call(number: int) -> Any:
            args = (key.id, key.digest, told, number, revoked)
            return await self._calls.link.run("add_key", [self._table, self._digests], args)

        if not await self._calls.once(("add_key", key), call):
            raise StoreError(f"an API key {key.id}, or one with its secret, exists already", "Make another one.")

    async def restore(self, key: ApiKey) -> None:
        """Keep a key as it is told, in the place of its older copy if there is one."""
        told = orjson.dumps([key.name, key.role, key.digest.hex(), key.created_at])
        revoked = "" if key.revoked_at is None else repr(key.revoked_at)
        await self._calls.link.run("load_key", [self._table, self._digests], (key.id, key.digest, told, revoked))

    async def all(self) -> list[ApiKey]:
        """See `ports.KeyStore.keys`."""
        pairs = await self._calls.link.command("HGETALL", self._table)
        if isinstance(pairs, dict):
            pairs = [word for pair in pairs.items() for word in pair]
        rows = sorted((unpack(packed)[0], id, packed) for id, packed in zip(pairs[::2], pairs[1::2], strict=True))
        return sorted((_key_of(id.decode(), unpack(packed)) for _, id, packed in rows), key=lambda key: key.created_at)

    async def revoke(self, id: str, now: float) -> bool:
        """See `ports.KeyStore.revoke_key`."""

        async def call(number: int) -> Any:
            return await self._calls.link.run("revoke_key", [self._table], (id, repr(now), number))

        return bool(await self._calls.once(("revoke_key", id, now), call))


def _key_of(id: str, row: list[Any]) -> ApiKey:
    _, told, _, revoked_at, *_ = [*row, None]
    name, role, digest, created_at = orjson.loads(told)
    return ApiKey(id, name, role, bytes.fromhex(digest), created_at, None if revoked_at is None else float(revoked_at))
