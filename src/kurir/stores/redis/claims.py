"""The verbs a courier lives by, but for `settle`: `lease`, `claim`, `adopt`; and `attend`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from kurir.core.errors import StoreAway, StoreError
from kurir.core.message import Claim
from kurir.ports import Claimed, Lease, Roll, Worker

from .calls import Calls
from .doubts import Doubts
from .link import Unsent
from .packing import claim_of
from .reads import Reads


class Claims:
    """`own_clock`: leases are judged by the server's clock, not by the callers'."""

    def __init__(self, calls: Calls, reads: Reads, *, own_clock: bool) -> None:
        self._calls = calls
        self._reads = reads
        self._own = int(own_clock)
        self._held: dict[str, set[int]] = {}
        self._doubts = Doubts()

    # ---------------------------------------------------------------- lease

    async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        """See `ports.Store.lease`."""
        bots = list(dict.fromkeys(bots))
        if not bots:
            await self._calls.link.command("SET", self._calls.keys.of_store("pulse"), repr(now))
            return []

        groups = [[bot] for bot in bots] if self._calls.cluster else [bots]
        answers = await asyncio.gather(*(self._lease(holder, group, until, now) for group in groups))
        leases = [lease for group in answers for lease in group]
        if until <= now:
            self._held.get(holder, set()).difference_update(bots)
        else:
            self._held.setdefault(holder, set()).update(lease.bot for lease in leases)
        return leases

    async def _lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        async def call(number: int) -> Any:
            words = (holder, repr(float(until)), repr(now), self._own, number)
            return await self._calls.run("lease", bots, *words, *bots)

        clock = self._calls.link.clock
        asked_at = clock.ticks()
        seconds, micros, rows = await self._calls.once(("lease", holder, tuple(bots)), call)
        clock.learn(int(seconds) + int(micros) / 1e6, asked_at, clock.ticks())
        return [_lease_of(bot, holder, row) for bot, row in zip(bots, rows, strict=True) if row is not None]

    async def leave(self) -> None:
        """What this handle holds is given up, if the server can be told."""
        for holder, bots in self._held.items():
            with contextlib.suppress(StoreError):
                await self.lease(holder, sorted(bots), 0.0, self._calls.link.clock.now())

    async def attend(self, holder: str, bots: Sequence[int], until: float, now: float) -> Roll:
        """See `ports.Roster.attend`."""
        told = ",".join(map(str, bots))
        args = (holder, told, repr(float(until)), repr(now), self._own)
        at, there = await self._calls.link.run("attend", [self._calls.keys.of_store("workers")], args)
        rows = zip(there[::3], there[1::3], there[2::3], strict=True)
        workers = [Worker(name.decode(), float(end), _bots(able)) for name, end, able in rows]
        return Roll(tuple(sorted(workers, key=lambda worker: worker.holder)), await self._holders(float(at)))

    async def _holders(self, now: float) -> dict[int, str]:
        bots = await self._reads.bots()
        rows = await self._calls.look_at_all("holders", bots)
        return {
            bot: holder.decode()
            for bot, (holder, end) in zip(bots, rows, strict=True)
            if holder is not None and float(end) > now
        }

    # ---------------------------------------------------------------- claim, adopt

    async def claim(self, lease: Lease, now: float, limit: int, low: int) -> Claimed:
        """See `ports.Store.claim`."""
        words = (lease.bot, lease.holder, lease.token, repr(now), self._own, limit, low)
        next_at, _, rows = await self._take("claim", lease, words)
        claims = tuple(claim_of(lease.bot, lease.token, row) for row in rows)
        return Claimed(claims, float(next_at) if next_at else None)

    async def adopt(self, lease: Lease, limit: int, suspects: bool) -> list[Claim]:
        """See `ports.Store.adopt`."""
        words = (lease.bot, lease.holder, lease.token, limit, int(suspects))
        _, rows = await self._take("adopt", lease, words)
        return [claim_of(lease.bot, lease.token, row) for row in rows]

    async def _take(self, verb: str, lease: Lease, words: tuple[Any, ...]) -> Any:
        """What an earlier call took and could not tell is told by the next of the kind."""
        doubts, number = self._doubts.of(verb, lease), self._calls.lost.number()
        before = doubts.numbers()
        try:
            answer = await self._calls.run(verb, [lease.bot], *words, number, *before, again=(number,))
        except Unsent:
            raise
        except (StoreAway, asyncio.CancelledError):
            doubts.add(number)
            raise
        if not answer[-2]:  # nothing is left to be told
            doubts.told(before)
        return answer


def _bots(told: bytes) -> tuple[int, ...]:
    return tuple(int(bot) for bot in told.split(b",") if bot)


def _lease_of(bot: int, holder: str, row: list[Any]) -> Lease:
    token, until, paused_until, why, orphans, lone, recent = row
    attempts = sorted((float(at), chat.decode()) for chat, at in zip(recent[::2], recent[1::2], strict=True))
    return Lease(
        bot,
        holder,
        token,
        float(until),
        float(paused_until),
        why.decode() if why is not None else None,
        bool(orphans),
        lone.decode() if lone is not None else None,
        tuple((chat, at) for at, chat in attempts),
    )
