"""Searches: connections of their own, so that what is long holds up nothing that is short; given up after a while."""

from __future__ import annotations

import asyncpg

from kurir.core.errors import StoreError
from kurir.ports import LaneQuery, Query

from .address import Address
from .connections import Pool, T, Work
from .errors import Away

LONGEST = 10.0  # seconds a search may take
ABREAST = 2


class Searches:
    """`bounced`: as for `Pool`."""

    def __init__(self, address: Address, *, bounced: bool) -> None:
        self._pool = Pool(address, ABREAST, longest=LONGEST)
        self._pool.bounced = bounced

    async def run(self, work: Work[T]) -> T:
        """Raises Away and `KurirError`, also when it takes too long."""
        try:
            return await self._pool.run(work, LONGEST + 1.0)
        except Away as away:
            if isinstance(away.__context__, TimeoutError | asyncpg.QueryCanceledError):
                raise StoreError(
                    f"the search was given up after {LONGEST:g} s",
                    "Narrow it: by ids, by chat, by bot and key, or by state.",
                ) from None
            raise

    async def close(self) -> None:
        await self._pool.close()


def is_short(query: Query | LaneQuery) -> bool:
    """It goes straight to a few rows; anything else may have to look at every one."""
    if isinstance(query, LaneQuery):
        return query.chat is not None
    return bool(query.ids or query.seqs or (query.bot is not None and query.key is not None))
