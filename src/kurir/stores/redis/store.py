"""The Redis store: the verbs of `ports.Store`, each one script."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from kurir.core.message import Accepted, Claim, Draft
from kurir.core.rows import Section
from kurir.ports import (
    ApiKey,
    Change,
    Chunk,
    Claimed,
    Clock,
    LanePage,
    LaneQuery,
    Lease,
    Page,
    Pruned,
    Query,
    Roll,
    Row,
    Settlement,
    Stats,
)
from kurir.stores.batches import Batches, touched
from kurir.stores.breaker import Breaker

from .address import parse
from .api_keys import ApiKeys
from .blobs import Blobs
from .calls import Calls
from .claims import Claims
from .dump import Cargo
from .hearing import Hearing
from .host import Host
from .keyspace import Keyspace
from .link import Link
from .people import People
from .reads import Reads
from .writes import Report, Submission, Writes

TOGETHER = 1000  # messages of several callers in one call
CLOSE_SECONDS = 2.0  # for what was handed over, when the store closes
LEAVE_SECONDS = 1.0  # for giving up the leases


class RedisStore:
    """`ports.Store`, `KeyStore`, `Roster`, `TimeKeeper`, `BlobStore` on one Redis or Valkey server, or a cluster of them.

    Whatever else needs the server uses `link.command` (one command about one key) or `link.run` (a script of `lua/`), both
    with time limits, tried again, in our errors, and `keyspace` for names of keys.
    """

    def __init__(self, url: str, *, own_clock: bool = True) -> None:
        self.link = Link(parse(url))
        self.keyspace = Keyspace(self.link.address.prefix)
        who = secrets.token_hex(8)
        calls = Calls(self.link, self.keyspace, who)
        self._host = Host(self.link, self.keyspace)
        self._reads = Reads(calls)
        self._claims = Claims(calls, self._reads, own_clock=own_clock)
        self._people = People(calls, self._reads)
        self._keys = ApiKeys(calls)
        self._cargo = Cargo(calls, self._reads, self._keys)
        self._blobs = Blobs(self.link, self.keyspace)
        self._hearing = Hearing(self.link, self.keyspace.channel, who)
        writes = Writes(calls)
        self._submits: Batches[Submission, list[Accepted]] = Batches(writes.submit, TOGETHER)
        self._settles: Batches[Report, list[bool]] = Batches(writes.settle, TOGETHER)

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        if self.link.is_open:
            return
        await self.link.open()
        try:
            await self._host.open()
        except BaseException:
            await self.link.close()
            raise

    async def close(self) -> None:
        if self.link.is_open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._submits.finish()
                    await self._settles.finish()
            self._submits.abandon()
            self._settles.abandon()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._claims.leave()
            await self._hearing.close()
            await self._host.close()
            await self.link.close()

    @property
    def clock(self) -> Clock:
        return self.link.clock

    @property
    def breaker(self) -> Breaker:
        """As health and metrics want it."""
        return self.link.breaker

    # ---------------------------------------------------------------- verbs

    async def submit(self, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        if not drafts:
            return []
        accepted = await self._submits.run(Submission(drafts, now), len(drafts), *touched(drafts))
        self._hearing.changed()
        return accepted

    async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        return await self._claims.lease(holder, bots, until, now)

    async def attend(self, holder: str, bots: Sequence[int], until: float, now: float) -> Roll:
        return await self._claims.attend(holder, bots, until, now)

    async def claim(self, lease: Lease, now: float, limit: int, low: int = 0) -> Claimed:
        return await self._claims.claim(lease, now, limit, low)

    async def adopt(self, lease: Lease, limit: int, suspects: bool = False) -> list[Claim]:
        return await self._claims.adopt(lease, limit, suspects)

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[bool]:
        if not settlements:
            return []
        lanes = frozenset(s.claim.lane for s in settlements)
        settled = await self._settles.run(Report(settlements, now), len(settlements), lanes)
        self._hearing.changed()
        return settled

    async def find(self, query: Query) -> Page:
        return await self._reads.find(query)

    async def alter(self, query: Query, change: Change, now: float) -> list[str]:
        changed = await self._people.alter(query, change, now)
        if changed:
            self._hearing.changed()
        return changed

    async def steer(
        self, bot: int, *, chat: str | None = None, until: float, reason: str | None = None, extend: bool = False
    ) -> None:
        await self._people.steer(bot, chat, until, reason, extend)
        self._hearing.changed()

    async def suppress(self, bot: int, chat: str, why: str | None, now: float) -> None:
        await self._people.suppress(bot, chat, why, now)
        self._hearing.changed()

    async def stats(self, bot: int | None = None, days: int = 31) -> Stats:
        bots, told = await self._reads.stats(bot, days)
        return Stats(bots, told, {**await self._host.figures(), **self.link.commits.figures()})

    async def prune(self, before: float, now: float, limit: int = 1000, lift_before: float = 0.0) -> Pruned:
        return await self._people.prune(before, now, limit, lift_before)

    async def lanes(self, query: LaneQuery) -> LanePage:
        return await self._reads.lanes(query)

    async def watch(self, timeout: float) -> None:
        await self._hearing.watch(timeout)

    # ---------------------------------------------------------------- carrying all of it elsewhere

    async def dump(self, section: Section, cursor: str | None = None, limit: int = 1000) -> Chunk:
        return await self._cargo.dump(section, cursor, limit)

    async def load(self, section: Section, rows: Sequence[Row]) -> None:
        await self._cargo.load(section, rows)
        self._hearing.changed()

    async def mark(self, mark: str | None) -> None:
        await self._cargo.mark(mark)

    async def marked(self) -> str | None:
        return await self._cargo.marked()

    # ---------------------------------------------------------------- API keys

    async def add_key(self, key: ApiKey) -> None:
        await self._keys.add(key)
        self._hearing.changed()

    async def keys(self) -> list[ApiKey]:
        return await self._keys.all()

    async def revoke_key(self, id: str, now: float) -> bool:
        revoked = await self._keys.revoke(id, now)
        self._hearing.changed()
        return revoked

    # ---------------------------------------------------------------- files

    async def put_blob(self, sha256: str, path: Path, now: float) -> None:
        await self._blobs.put(sha256, path, now)

    async def get_blob(self, sha256: str, path: Path) -> bool:
        return await self._blobs.get(sha256, path)

    async def drop_blobs(self, sha256s: Sequence[str], before: float) -> int:
        return await self._blobs.drop(sha256s, before)

    async def blobs(self, before: float) -> list[str]:
        return await self._blobs.names(before)
