"""What a suppression ends besides the message that brought it about: all that waits for the chat. Listeners hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from kurir.core.errors import StoreError
from kurir.core.events import Altered, Event
from kurir.core.message import State
from kurir.ports import Clock, Query, Settlement, Store

PAGE = 500  # messages looked at in one step
CLOCKS_APART = 0.5  # seconds at most by which a store with a clock of its own dates things differently

Emit = Callable[[Event], None]


async def suppress(store: Store, clock: Clock, emit: Emit, bot: int, chat: str, why: str) -> None:
    """Suppress a chat by hand, and tell of what that ended."""
    now = clock.now()
    await store.suppress(bot, chat, why, now)
    await _tell(store, emit, bot, chat, now, by_hand=True)


class Obituaries:
    """Tells of what was ended by the suppressions that one courier's results brought about, beside its loops.

    What ended is durable before: if the store then fails to say what it was, listeners hear nothing of it.
    """

    def __init__(self, store: Store, emit: Emit) -> None:
        self._store = store
        self._emit = emit
        self._tasks: set[asyncio.Task[None]] = set()

    def after(self, kept: Iterable[Settlement], now: float) -> None:
        """These results became durable at `now`."""
        chats = {(s.claim.bot, s.claim.chat): None for s in kept if s.suppress is not None}
        for bot, chat in chats:
            task = asyncio.create_task(self._one(bot, chat, now), name=f"kurir-suppressed-{bot}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, bot: int, chat: str, now: float) -> None:
        try:
            await _tell(self._store, self._emit, bot, chat, now, by_hand=False)
        except StoreError:
            return

    async def told(self, seconds: float) -> None:
        """Wait for what is to be told, `seconds` at most."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=seconds)

    def close(self) -> None:
        """Tell nothing more."""
        for task in tuple(self._tasks):
            task.cancel()


async def _tell(store: Store, emit: Emit, bot: int, chat: str, at: float, *, by_hand: bool) -> None:
    """One event a page and reason; it was about `at` that they ended."""
    query = Query(bot=bot, chat=chat, states=(State.DEAD,), reason="suppressed: ", limit=PAGE)
    while True:
        page = await store.find(query)
        ended: dict[str | None, list[str]] = {}
        for record in page.items:
            if record.ended_at is not None and record.ended_at >= at - CLOCKS_APART:
                ended.setdefault(record.reason, []).append(record.id)
        for reason, ids in ended.items():
            emit(Altered(tuple(ids), State.DEAD, at, bot, reason, by_hand))
        if page.next is None:
            return
        query = replace(query, cursor=page.next)
