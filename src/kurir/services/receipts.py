"""Receipts: wait for a message's end, wherever the courier runs that brings it about."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from kurir.core.errors import DeliveryTimeout, NotFound, StoreAway, StoreError, Undelivered
from kurir.core.events import Altered, Event, Forwarded, Settled, Submitted
from kurir.core.message import Accepted, Record, State
from kurir.ports import Clock, Page, Query

from .forwarding import original

LOOK_EVERY = (0.1, 0.25, 0.5, 1.0)  # seconds between looks at the store; the last repeats
LOOKS_APART = 0.02  # seconds at least, however often the store changes
LOOK_AT_ONCE = 500
APPEARS = 60.0  # seconds within which a message shows itself whose transaction was yet to commit


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `submit` returns: the message is durable."""

    accepted: Accepted
    _waiting: Waiting
    joined: bool = False  # in a transaction of the caller's: durable once that commits

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

    @property
    def spooled(self) -> bool:
        """The store was away: the message is in the local journal, and goes to the store when that is back."""
        return self.accepted.spooled

    async def delivered(self, timeout: float | None = None) -> Any:
        """Telegram's result, once it is delivered. Raises Undelivered if it ended otherwise, DeliveryTimeout after
        `timeout` seconds (the message lives on). One whose transaction the caller has yet to commit is waited for too;
        raises NotFound if it has not appeared within a minute: it was rolled back."""
        record = await self.ended(timeout)
        if record.state is not State.DELIVERED:
            raise Undelivered(record)
        return orjson.loads(record.result) if record.result is not None else None

    async def ended(self, timeout: float | None = None) -> Record:
        """The record, once the message has ended in whatever way. An edit that gave way to a newer one ends as that
        one does. Raises DeliveryTimeout; StoreAway when Kurir is closed meanwhile."""
        return await self._waiting.ended(self.id, timeout, joined=self.joined)

    async def record(self) -> Record:
        """The message as it stands now."""
        return await self._waiting.get(self.id)


@dataclass(frozen=True, slots=True)
class End:
    """How a message ended. `id` is that of the message it gave way to, if it did."""

    id: str
    state: State
    reason: str | None
    result: bytes | None  # Telegram's, JSON
    status: int | None = None  # HTTP status of the last call's answer
    calls: int = 0  # made in all


class Looking(Protocol):
    """What is needed of a store."""

    async def find(self, query: Query) -> Page: ...

    async def watch(self, timeout: float) -> None: ...


class Waiting:
    """Who waits for which message. Hears of ends in this process at once; looks at the store for all others.

    `elsewhere`: no courier runs in this process, so that the store is looked at whenever it has changed."""

    def __init__(self, store: Looking, clock: Clock, *, elsewhere: bool = False) -> None:
        self._store = store
        self._elsewhere = elsewhere
        self._clock = clock
        self._waiters: dict[str, set[asyncio.Future[End | None]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = True

    def open(self) -> None:
        """The store is open, or will be."""
        self._closed = False

    def hear(self, event: Event) -> None:
        if not self._waiters:
            return
        if isinstance(event, Settled):
            if event.state.final and event.claim.id in self._waiters:
                self._wake(event.claim.id, _end_of(event))
        elif isinstance(event, Submitted | Forwarded):
            for accepted in event.accepted:
                if accepted.replaces is not None:
                    self._wake(accepted.replaces)
        elif isinstance(event, Altered):
            for id in event.ids:
                self._wake(id)

    def _wake(self, id: str, end: End | None = None) -> None:
        """`end` None: the store knows more."""
        for waiter in self._waiters.get(id, ()):
            if not waiter.done():
                waiter.set_result(end)

    async def find(self, query: Query) -> Page:
        """See `ports.Store.find`; spooled messages are found by their ids."""
        return await self._store.find(query)

    async def get(self, id: str, *, with_attempts: bool = False) -> Record:
        """Raises NotFound."""
        page = await self._store.find(Query(ids=(id,), limit=1, with_attempts=with_attempts))
        if not page.items:
            raise NotFound(f"no message {id!r}", "It was never accepted here, or its history was pruned.")
        return page.items[0]

    async def end(self, id: str, timeout: float | None, *, fresh: bool = False, joined: bool = False) -> End:
        """How the message ended, once it has. `fresh`: it was accepted this moment, so that a first look at the store is
        needless. `joined`: it need not be there yet, for APPEARS seconds. While the store is away it waits on. Raises
        DeliveryTimeout after `timeout` seconds, NotFound, and StoreAway when Kurir is closed meanwhile."""
        until = None if timeout is None else self._clock.now() + timeout
        hidden = self._clock.now() + APPEARS if joined else 0.0  # until then it may be in a transaction still
        look = not fresh
        while True:
            waiter: asyncio.Future[End | None] = asyncio.get_running_loop().create_future()
            waiting_for = id
            self._waiters.setdefault(id, set()).add(waiter)
            try:
                if self._closed:
                    raise StoreAway(f"Kurir is closed, and message {id} waited for", "It lives on: open Kurir again.")
                try:
                    record, again = (await self._appeared(id, hidden) if look else None), math.inf
                except StoreAway:
                    record, again = None, self._clock.now() + LOOK_EVERY[-1]
                if record is not None:
                    hidden = 0.0
                    instead = record.superseded_by or original(record.reason)
                    if instead is not None:
                        id = instead
                        continue
                    if record.state.final:
                        return _end_of_record(record)
                self._look()
                heard = await self._wait(waiter, min(until or math.inf, hidden or math.inf, again))
            finally:
                self._forget(waiting_for, waiter)
            if heard is not None:
                return heard
            if until is not None and not waiter.done() and self._clock.now() >= until:
                raise DeliveryTimeout(id, timeout or 0.0)
            look = True

    async def ended(self, id: str, timeout: float | None, *, joined: bool = False) -> Record:
        """The record of what `end` tells of."""
        until = None if timeout is None else self._clock.now() + timeout
        end = await self.end(id, timeout, joined=joined)
        while True:
            try:
                return await self.get(end.id)
            except StoreAway:
                if self._closed:
                    raise
            if until is not None and self._clock.now() >= until:
                raise DeliveryTimeout(id, timeout or 0.0)
            await self._clock.sleep(LOOK_EVERY[-1])

    async def _appeared(self, id: str, hidden: float) -> Record | None:
        """The message with its attempts; None before `hidden` (Unix seconds) if it is not there. Raises NotFound."""
        try:
            return await self.get(id, with_attempts=True)
        except NotFound:
            if self._clock.now() < hidden:
                return None
            raise

    async def _wait(self, waiter: asyncio.Future[End | None], until: float) -> End | None:
        try:
            async with asyncio.timeout(None if math.isinf(until) else max(0.0, until - self._clock.now())):
                return await asyncio.shield(waiter)
        except TimeoutError:
            return None

    def _forget(self, id: str, waiter: asyncio.Future[End | None]) -> None:
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
            await self._pause(LOOK_EVERY[min(turn, len(LOOK_EVERY) - 1)])
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

    async def _pause(self, seconds: float) -> None:
        if not self._elsewhere:
            await self._clock.sleep(seconds)
            return
        try:
            await self._store.watch(seconds)
        except StoreError:
            await self._clock.sleep(seconds)
        await self._clock.sleep(LOOKS_APART)

    def close(self) -> None:
        """Nobody looks any more: who still waits is told that the store is away."""
        self._closed = True
        if self._looking:
            self._looking.cancel()
        for id in list(self._waiters):
            self._wake(id)


def _end_of(event: Settled) -> End:
    claim, attempt = event.claim, event.attempt
    status = attempt.status if attempt is not None else None
    calls = attempt.number if attempt is not None else claim.attempts
    return End(claim.id, event.state, event.reason, event.result, status, calls)


def _end_of_record(record: Record) -> End:
    attempts = record.attempts
    status = attempts[-1].status if attempts else None
    return End(record.id, record.state, record.reason, record.result, status, len(attempts))
