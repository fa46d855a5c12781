"""Shorthand for the contract's tests: time is seconds after `T`, the bot is 1, the chat "a"."""

from __future__ import annotations

from typing import Any

from kurir.core.message import Accepted, Attempt, Claim, Draft, Priority, Record, State
from kurir.ports import BotStats, Claimed, Lease, Query, Settlement, Store

T = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
BOT = 1
FOREVER = float("inf")


def draft(id: str, chat: str = "a", *, at: float = 0.0, due: float | None = None, **fields: Any) -> Draft:
    """A message accepted `at` seconds after T, due `due` seconds after T."""
    fields.setdefault("bot", BOT)
    fields.setdefault("method", "sendMessage")
    fields.setdefault("params", b'{"text":"hello"}')
    return Draft(id=id, chat=chat, accepted_at=T + at, due_at=0.0 if due is None else T + due, **fields)


def edit(id: str, message_id: int = 5, method: str = "editMessageText", **fields: Any) -> Draft:
    """A set (class C) that may replace an older one of the same target."""
    return draft(id, method=method, target=f"{message_id}:{method}", coalesce=True, **fields)


def low(id: str, chat: str = "a", **fields: Any) -> Draft:
    return draft(id, chat, priority=Priority.LOW, **fields)


def ids(claimed: Claimed) -> list[str]:
    return [claim.id for claim in claimed.claims]


def call(at: float, outcome: str = "delivered", number: int = 1) -> Attempt:
    """An attempt that began `at` seconds after T."""
    return Attempt(number, T + at, 0.25, outcome, 200 if outcome == "delivered" else None, None)


class Post:
    """A store and the lease of its bot."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lease: Lease

    async def take(self, holder: str = "courier", at: float = 0.0, until: float = 1e6) -> Lease:
        """Take or renew the bot's lease."""
        [self.lease] = await self.store.lease(holder, [BOT], T + until, T + at)
        return self.lease

    async def leave(self, at: float = 0.0) -> None:
        """Give the bot up."""
        await self.store.lease(self.lease.holder, [BOT], 0.0, T + at)

    async def submit(self, *drafts: Draft, at: float = 0.0) -> list[Accepted]:
        return await self.store.submit(drafts, T + at)

    async def claim(self, at: float = 0.0, limit: int = 100, low: int = 0) -> Claimed:
        return await self.store.claim(self.lease, T + at, limit, low)

    async def one(self, at: float = 0.0) -> Claim:
        """The only claim there is."""
        [claim] = (await self.claim(at)).claims
        return claim

    async def settle(self, claim: Claim, state: State = State.DELIVERED, at: float = 0.0, **fields: Any) -> bool:
        """Settle one claim, `due` and `chat` in seconds after T; a call was made unless `attempt` is None."""
        for name in ("due", "chat"):
            if name in fields:
                fields[f"{name}_at"] = T + fields.pop(name)
        fields.setdefault("attempt", call(at, number=claim.attempts + 1))
        [settled] = await self.store.settle([Settlement(claim, state, **fields)], T + at)
        return settled

    async def retry(self, claim: Claim, at: float = 0.0, **fields: Any) -> bool:
        return await self.settle(claim, State.WAITING, at, **fields)

    async def drain(self, at: float = 0.0) -> list[str]:
        """Deliver all that is ready, one at a time; the ids in order."""
        sent = []
        while claims := (await self.claim(at, limit=1)).claims:
            sent.append(claims[0].id)
            assert await self.settle(claims[0], at=at)
        return sent

    async def record(self, id: str) -> Record:
        [record] = (await self.store.find(Query(ids=(id,), with_attempts=True))).items
        return record

    async def state(self, id: str) -> State:
        return (await self.record(id)).state

    async def found(self, **conditions: Any) -> list[str]:
        return [record.id for record in (await self.store.find(Query(**conditions))).items]

    async def stats(self) -> BotStats:
        [stats] = (await self.store.stats(BOT)).bots
        return stats
