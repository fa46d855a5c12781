"""Change everything that matches a query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kurir.core.events import Altered, Event
from kurir.core.message import State
from kurir.ports import Cancel, Change, Clock, Expire, Query, Requeue, Store

STATE_AFTER: dict[type[Change], State] = {
    Cancel: State.CANCELLED,
    Expire: State.EXPIRED,
    Requeue: State.WAITING,
}


async def change_matching(
    store: Store, clock: Clock, query: Query, change: Change, emit: Callable[[Event], None]
) -> int:
    """How many were changed, each once: it looks first, so that what is retried and dies again at once is not taken up anew.
    In steps of a page, and each is told of when it is durable; what was changed before an error stays so."""
    changed = 0
    query = replace(query, oldest_first=True)  # a retry keeps their order
    while True:
        page = await store.find(query)
        if page.items:
            found = replace(query, ids=tuple(record.id for record in page.items), cursor=None)
            now = clock.now()
            ids = await store.alter(found, change, now)
            changed += len(ids)
            if ids:
                emit(altered(ids, change, now))
        if page.next is None:
            return changed
        query = replace(query, cursor=page.next)


def altered(ids: list[str], change: Change, now: float) -> Altered:
    """What is to be told of a change by hand."""
    return Altered(tuple(ids), STATE_AFTER.get(type(change)), now)
