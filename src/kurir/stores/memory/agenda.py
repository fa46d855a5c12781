"""A priority queue whose entries can change."""

from __future__ import annotations

import heapq

Key = tuple[float, float]  # the second part breaks ties


class Agenda:
    """Items (integers) by key, smallest first. `put` moves an item, `drop` removes it; amortised O(log n):
    what they leave behind in the heap is recognised and thrown away when it surfaces."""

    __slots__ = ("_heap", "_keys")

    def __init__(self) -> None:
        self._heap: list[tuple[Key, int]] = []
        self._keys: dict[int, Key] = {}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __contains__(self, item: int) -> bool:
        return item in self._keys

    def put(self, item: int, key: Key) -> None:
        """Add `item`, or give it another key."""
        self._keys[item] = key
        heapq.heappush(self._heap, (key, item))
        if len(self._heap) > 2 * len(self._keys) + 32:
            self._heap = [(key, item) for item, key in self._keys.items()]
            heapq.heapify(self._heap)

    def drop(self, item: int) -> None:
        """Remove `item` if it is there."""
        self._keys.pop(item, None)
        if not self._keys:
            self._heap.clear()

    def first(self) -> int | None:
        """The item with the smallest key."""
        heap, keys = self._heap, self._keys
        while heap and keys.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][1] if heap else None

    def due(self, now: float) -> int | None:
        """The first item, if its time has come."""
        item = self.first()
        return None if item is None or self._keys[item][0] > now else item

    def at(self) -> float | None:
        """The first part of the smallest key."""
        item = self.first()
        return None if item is None else self._keys[item][0]
