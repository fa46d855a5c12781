"""How long the commits took: what a histogram needs."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from typing import Any

BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf)  # seconds


class Commits:
    """Commits that wrote something, since the store was opened. One thread counts; any may read."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._counts = [0] * len(BOUNDS)
        self._seconds = 0.0

    def took(self, seconds: float) -> None:
        """One commit more."""
        self._seconds += seconds
        self._counts[bisect_left(BOUNDS, seconds)] += 1

    def figures(self) -> dict[str, Any]:
        """For `Stats.store`: how many, how long together, and how many took at most so many seconds."""
        up_to = list(accumulate(self._counts.copy()))
        return {
            "commits": up_to[-1],
            "commit_seconds": self._seconds,
            "commit_buckets": [[bound, count] for bound, count in zip(BOUNDS, up_to, strict=True)],
        }
