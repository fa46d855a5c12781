"""A store that goes away and comes back when a test says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from kurir.core.errors import StoreAway, StoreError
from kurir.ports import Store

MEMBERS = ("path", "clock", "breaker")  # which are no verbs


class Outages:
    """Stands before `store`. While `away`, every verb raises that; `lost` names verbs whose answer gets lost once each:
    they are carried out, and StoreAway is raised. `before`, `after`: called with a verb's name around it."""

    def __init__(self, store: Store) -> None:
        self.inner = store
        self.away: StoreError | None = None
        self.lost: list[str] = []
        self.before: Callable[[str], Awaitable[None]] | None = None
        self.calls: list[str] = []

    def leave(self, error: StoreError | None = None) -> None:
        self.away = error or StoreAway("connection refused by db:5432", "Start the server.")

    def come_back(self) -> None:
        self.away = None

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self.inner, name)
        if name in MEMBERS or not callable(inner):
            return inner

        async def verb(*args: Any, **more: Any) -> Any:
            self.calls.append(name)
            if self.before is not None:
                await self.before(name)
            if self.away is not None and name != "close":
                raise self.away
            answer = await inner(*args, **more)
            if name in self.lost:
                self.lost.remove(name)
                raise StoreAway("the connection broke before the answer", "Ask again.")
            return answer

        return verb


def with_outages(store: Store) -> tuple[Store, Outages]:
    """The store as Kurir sees it, and what steers it."""
    outages = Outages(store)
    return cast("Store", outages), outages
