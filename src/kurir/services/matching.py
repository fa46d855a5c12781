"""Change everything that matches a query."""

from __future__ import annotations

from dataclasses import replace

from kurir.ports import Change, Clock, Query, Store


async def change_matching(store: Store, clock: Clock, query: Query, change: Change) -> list[str]:
    """The ids of what was changed, each once: it looks first, so that what is retried and dies again at once is not taken
    up anew."""
    changed: list[str] = []
    query = replace(query, oldest_first=True)  # a retry keeps their order
    while True:
        page = await store.find(query)
        if page.items:
            found = replace(query, ids=tuple(record.id for record in page.items), cursor=None)
            changed += await store.alter(found, change, clock.now())
        if page.next is None:
            return changed
        query = replace(query, cursor=page.next)
