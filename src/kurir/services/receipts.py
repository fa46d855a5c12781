"""Receipts: wait for a message's end, wherever the courier runs that brings it about."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from kurir.core.errors import DeliveryTimeout, NotFound, StoreAway, StoreError, Undelivered
from kurir.core.events import Event, Settled
from kurir.core.message import Accepted, Record, State
from kurir.ports import Clock, Query, Store

LOOK_EVERY = (0.1, 0.25, 0.5, 1.0)  # seconds between looks at the store; the last repeats
LOOK_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `submit` returns: the message is durable."""

    accepted: Accepted
    _waiting: Waiting

    @property
    def id(self) -> str:
        return self.accepted.id

    @property
    def state(self) -> State:
        """The state at acceptance; `await record()` tells today's."""
        return self.accepted.state

    @property
    def duplicate(self) -> bool:
        """The idempotency key was known; `id` is the first message's."""
        return self.accepted.duplicate

    async def delivered(self, timeout: float | None = None) -> Any:
        """Telegram's result, once it is delivered. Raises Undelivered if it ended otherwise, DeliveryTimeout after
        `timeout` seconds (the message lives on)."""
        record = await self.ended(timeout)
        if record.state is not State.DELIVERED:
            raise Undelivered(record)
        return orjson.loads(record.result) if record.result is not None else None

    async def ended(self, timeout: float | None = None) -> Record:
        """The record, once the message has ended in whatever way. An edit that gave way to a newer one ends as that
        one does. Raises DeliveryTimeout; StoreAway when Kurir is closed meanwhile."""
        return await self._waiting.end_of(self.id, timeout)

    async def record(self) -> Record:
        """The message as it stands now."""
        return await self._waiting.get(self.id)


class Waiting:
    """Who waits for which message. Hears of ends in this process at once; looks at the store for all others."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    def hear(self, event: Event) -> None:
        if isinstance(event, Settled) and event.state.final:
            self._wake(event.claim.id)

    def _wake(self, id: str) -> None:
        for waiter in self._waiters.get(id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def get(self, id: str, *, with_attempts: bool = False) -> Record:
        """Raises NotFound."""
        page = await self._store.find(Query(ids=(id,), limit=1, with_attempts=with_attempts))
        if not page.items:
            raise NotFound(f"no message {id!r}", "It was never accepted here, or its history was pruned.")
        return page.items[0]

    async def end_of(self, id: str, timeout: float | None) -> Record:
        end = None if timeout is None else self._clock.now() + timeout
        while True:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting_for = id
            self._waiters.setdefault(id, set()).add(waiter)
            try:
                if self._closed:
                    raise StoreAway(
                        f"Kurir was closed while message {id} was waited for", "It lives on: open it again."
                    )
                record = await self.get(id)
                if record.superseded_by is not None:
                    id = record.superseded_by
                    continue
                if record.state.final:
                    return record
                self._look()
                await self._wait(waiter, end)
            finally:
                self._forget(waiting_for, waiter)
            if end is not None and not waiter.done() and self._clock.now() >= end:
                raise DeliveryTimeout(id, timeout or 0.0)

    async def _wait(self, waiter: asyncio.Future[None], end: float | None) -> None:
        left = None if end is None else max(0.0, end - self._clock.now())
        await asyncio.wait((waiter,), timeout=left)

    def _forget(self, id: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiters[id]
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[id]

    def _look(self) -> None:
        if not self._closed and (self._looking is None or self._looking.done()):
            self._looking = asyncio.ensure_future(self._looks())

    async def _looks(self) -> None:
        """Ask the store about all that are waited for, a batch at a time."""
        turn = 0
        while self._waiters:
            await self._clock.sleep(LOOK_EVERY[min(turn, len(LOOK_EVERY) - 1)])
            turn += 1
            ids = list(self._waiters)
            for start in range(0, len(ids), LOOK_AT_ONCE):
                batch = tuple(ids[start : start + LOOK_AT_ONCE])
                try:
                    page = await self._store.find(Query(ids=batch, limit=LOOK_AT_ONCE))
                except StoreError:
                    break
                for record in page.items:
                    if record.state.final:
                        self._wake(record.id)

    def close(self) -> None:
        """Nobody looks any more: who still waits is told that the store is away."""
        self._closed = True
        if self._looking:
            self._looking.cancel()
        for id in list(self._waiters):
            self._wake(id)
