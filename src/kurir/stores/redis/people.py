"""The verbs for people and housekeeping: `alter`, `steer`, `suppress`, `prune`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, assert_never

import orjson

from kurir.core.message import State
from kurir.ports import KEY_LIFE, Cancel, Change, Expire, Pruned, Purge, Query, Requeue

from .calls import Calls
from .days import day_of
from .packing import CODES, id_of
from .reads import MAX_PAGE, Reads, conditions

_WAITING = (State.WAITING,)
_FINAL = (State.DELIVERED, State.DEAD, State.CANCELLED, State.EXPIRED)
_REVIVABLE = (State.DEAD, State.CANCELLED, State.EXPIRED)


class People:
    def __init__(self, calls: Calls, reads: Reads) -> None:
        self._calls = calls
        self._reads = reads
        self._doubtful: set[bytes] = set()  # files that messages removed referred to: it is not settled who else does

    # ---------------------------------------------------------------- alter

    async def alter(self, query: Query, change: Change, now: float) -> list[str]:
        """See `ports.Store.alter`. What matches is looked for first, and then changed if it matches still."""
        allowed, name, reason = _meant(change)
        states = tuple(s for s in (query.states or allowed) if s in allowed)
        limit = max(0, min(query.limit, MAX_PAGE))
        if not states or not limit:
            return []
        query = replace(query, states=states, oldest_first=True)  # so a requeue keeps their order
        told = orjson.dumps(conditions(replace(query, ids=(), seqs=())))
        while rows := await self._reads.rows(query, limit):
            chosen: dict[int, list[int]] = {}
            for bot, row in rows:
                chosen.setdefault(bot, []).append(row[0])
            changes = (self._alter(bot, seqs, told, name, reason, now) for bot, seqs in chosen.items())
            changed = {id for ids in await asyncio.gather(*changes) for id in ids}
            if changed:
                return [id.decode() for _, row in rows if (id := id_of(row[3])) in changed]
        return []

    async def _alter(
        self, bot: int, seqs: Sequence[int], told: bytes, name: str, reason: str, now: float
    ) -> list[bytes]:
        async def call(number: int) -> list[bytes]:
            words = (*self._calls.loud, number, bot, told, name, reason, repr(now), day_of(now))
            changed: list[bytes] = await self._calls.run("alter", [bot], *words, *seqs)
            return changed

        return await self._calls.once(("alter", bot, tuple(seqs), told, name, now), call)

    # ---------------------------------------------------------------- steer, suppress

    async def steer(self, bot: int, chat: str | None, until: float, reason: str | None, extend: bool) -> None:
        """See `ports.Store.steer`."""
        meant = (int(chat is not None), chat or "")
        why = (int(reason is not None), reason or "")
        words = (*meant, repr(float(until)), *why, int(extend))
        await self._calls.numbered("steer", bot, *words, new=int(chat is not None))

    async def suppress(self, bot: int, chat: str, why: str | None, now: float) -> None:
        """See `ports.Store.suppress`."""
        words = (chat, int(why is not None), why or "", repr(now), day_of(now))
        if await self._calls.numbered("suppress", bot, *words):
            await self._calls.end_suppressed(bot, chat, now)

    # ---------------------------------------------------------------- prune

    async def prune(self, before: float, now: float, limit: int, lift_before: float) -> Pruned:
        """See `ports.Store.prune`. What is oldest is looked for first, in all bots, and then removed bot by bot."""
        bots = await self._reads.bots()
        bounds = (repr(before), repr(min(before, now - KEY_LIFE)))
        looks = await self._calls.look_at_all("prunable", bots, *bounds, limit, repr(lift_before))
        ended: list[tuple[float, int, int]] = []
        busy = {bot for bot in bots if self._calls.lost.recall(("prune", bot)) is not None}
        for bot, (found, lifts) in zip(bots, looks, strict=True):
            ended += ((float(at), int(seq), bot) for seq, at in zip(found[::2], found[1::2], strict=True))
            if lifts:
                busy.add(bot)
        chosen = sorted(ended)[:limit]
        seqs = {bot: [seq for _, seq, its in chosen if its == bot] for bot in busy | {bot for _, _, bot in chosen}}
        removals = (self._prune(bot, seqs[bot], *bounds, now, lift_before) for bot in seqs)
        removed = await asyncio.gather(*removals)
        unused = await self._settle_files(bots)
        return Pruned(
            sum(messages for messages, _ in removed),
            sum(lanes for _, lanes in removed),
            tuple(sorted(sha256.decode() for sha256 in unused)),
        )

    async def _settle_files(self, bots: Sequence[int]) -> Sequence[bytes]:
        """Files that no message refers to any more, and what Telegram called them is forgotten. If it fails, they stay
        doubtful: the next prune settles them."""
        doubtful = list(self._doubtful)
        unused = await self._unused(doubtful, bots)
        if unused:
            await asyncio.gather(*(self._forget_file_ids(bot, unused) for bot in bots))
        self._doubtful.difference_update(doubtful)
        return unused

    async def _forget_file_ids(self, bot: int, files: Sequence[bytes]) -> None:
        """What Telegram called files that no message refers to any more."""
        await self._calls.link.command("HDEL", self._calls.keys.of_bot(bot, "o"), *files)

    async def _prune(
        self, bot: int, seqs: Sequence[int], before: str, before_with_key: str, now: float, lift_before: float
    ) -> tuple[int, int]:
        """Messages and lanes removed: by the call before, if its answer was lost."""

        async def call(number: int) -> Any:
            words = (bot, number, before, before_with_key, repr(now), repr(lift_before))
            return await self._calls.run("prune", [bot], *words, *seqs)

        messages, lanes, files = await self._calls.once(("prune", bot), call)
        self._doubtful.update(files)
        return messages, lanes

    async def _unused(self, files: Iterable[bytes], bots: Sequence[int]) -> Sequence[bytes]:
        """Those that no message of any bot needs."""
        left = list(files)
        for bot in bots:
            if left:
                left = await self._calls.look("unused", bot, *left)
        return left


def _meant(change: Change) -> tuple[tuple[State, ...], str, str]:
    """The states that the change can change, and what the script is told."""
    match change:
        case Cancel(reason):
            return _WAITING, str(CODES[State.CANCELLED]), reason
        case Expire(reason):
            return _WAITING, str(CODES[State.EXPIRED]), reason
        case Requeue():
            return _REVIVABLE, "requeue", ""
        case Purge():
            return _FINAL, "purge", ""
        case _:
            assert_never(change)
