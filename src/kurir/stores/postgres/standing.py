"""What the store tells of its server: engine, size, what a crash can cost, what hinders it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kurir.core.errors import KurirError

from .connections import Pool
from .errors import Away

LOOK_EVERY = 10.0  # seconds
OLD = 1800.0  # seconds after which an open transaction is worth a warning
MANY_DEAD = 100_000  # rows


class Standing:
    """Looked up now and then, so that asking for it costs nothing."""

    def __init__(self, pool: Pool, q: Mapping[str, str], schema: str, version: int) -> None:
        self._pool = pool
        self._q = q
        self._schema = schema
        self._version = version
        self._known: dict[str, Any] = {}
        self._looked_at = -LOOK_EVERY

    async def tell(self) -> dict[str, Any]:
        """For `Stats.store`. Raises Away and `KurirError`."""
        if time.monotonic() - self._looked_at >= LOOK_EVERY:
            self._known = await self._pool.run(self._look)
            self._looked_at = time.monotonic()
        return self._known

    async def _look(self, db: Any) -> dict[str, Any]:
        server = await db.fetchrow(self._q["server"])
        return {
            "engine": f"PostgreSQL {server['version'].partition(' ')[0]}",
            "schema": self._version,
            "bytes": await db.fetchval(self._q["size"], f'"{self._schema}"'),
            "durability": durability(server),
            "warnings": [*_of_settings(server), *await self._of_health(db), *self._of_pooler()],
        }

    async def _of_health(self, db: Any) -> list[str]:
        try:
            health = await db.fetchrow(self._q["health"], self._schema)
        except (Away, KurirError):
            return []
        warnings = []
        if health["oldest"] > OLD:
            warnings.append(
                f"A transaction has been open for {health['oldest'] / 60:.0f} minutes: what ended since cannot be cleaned"
                " up. See pg_stat_activity."
            )
        if health["dead"] > max(MANY_DEAD, 2 * health["living"]):
            warnings.append(
                f"{health['dead']} dead rows wait for autovacuum: see that it runs and nothing holds it up."
            )
        return warnings

    def _of_pooler(self) -> list[str]:
        if not self._pool.bounced:
            return []
        return [
            "A pooler stands before PostgreSQL: no prepared statements (each verb takes three round trips more), and no"
            " LISTEN (changes by other processes are noticed by polling, within 0.25 s)."
        ]


def durability(server: Any) -> str:
    """One sentence: what a crash can cost."""
    if server["fsync"] == "off":
        return "fsync is off: a crash of the machine can lose or corrupt anything."
    if server["full_page_writes"] == "off":
        return "full_page_writes is off: a crash of the machine can corrupt the database unless its disks write whole pages."
    standbys = server["synchronous_standby_names"]
    commit = "on" if server["synchronous_commit"] == "off" else server["synchronous_commit"]
    told = "Every commit is on the server's disk before it is told of"
    if not standbys:
        return f"{told}; a standby that takes over may lack the last ones."
    if commit == "local":
        return f"{told}, but not on a standby (synchronous_commit = local)."
    return f"{told}, and on its synchronous standbys ({standbys})."


def _of_settings(server: Any) -> list[str]:
    if server["fsync"] == "off" or server["full_page_writes"] == "off":
        return [durability(server)]
    if server["synchronous_commit"] == "off":
        return ["The server's synchronous_commit is off; Kurir turns it on for its own transactions."]
    return []
