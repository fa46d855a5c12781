"""A store that may not be open yet, for whoever asks something of it."""

from __future__ import annotations

from asyncio import iscoroutinefunction
from collections.abc import Callable
from typing import Any

from kurir.core.errors import StoreAway, StoreError
from kurir.ports import Store


class Opened:
    """Stands before `store`. While `away` tells why that could not be opened yet, every verb raises StoreAway with
    those words."""

    def __init__(self, store: Store, away: Callable[[], StoreError | None]) -> None:
        self._store = store
        self._away = away

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        why = self._away()
        if why is None or not iscoroutinefunction(found):
            return found
        error = StoreAway(why.what, why.remedy)

        async def not_yet(*_: Any, **__: Any) -> Any:
            raise error

        return not_yet
