"""API keys: `ports.KeyStore`. `repeated`: it may have been done before, and then that was us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kurir.ports import ApiKey

from .connections import Pool


async def add(pool: Pool, q: Mapping[str, str], key: ApiKey, repeated: bool) -> bool:
    """False when its `id` or its `digest` is another's."""

    async def work(db: Any) -> bool:
        values = (key.id, key.name, key.role, key.digest, key.created_at)
        if await db.fetchval(q["add_api_key"], *values, key.revoked_at) is not None:
            return True
        return repeated and await db.fetchval(q["same_api_key"], *values) is not None

    return await pool.run(work)


async def revoke(pool: Pool, q: Mapping[str, str], id: str, now: float, repeated: bool) -> bool:
    """False when there is no such key, or it was revoked before."""

    async def work(db: Any) -> bool:
        if await db.fetchval(q["revoke_api_key"], id, now) is not None:
            return True
        return repeated and await db.fetchval(q["revoked_api_key"], id, now) is not None

    return await pool.run(work)
