"""What the store's handle remembers of calls whose answers were lost, so that the same call once more comes out right."""

from __future__ import annotations

import itertools
import random
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

KEEP = 600.0  # seconds: as long as the server keeps what it answered
MOST = 100_000  # calls remembered


class Lost:
    """Numbers of calls, and which of them are in doubt."""

    def __init__(self) -> None:
        self._next = itertools.count(random.SystemRandom().getrandbits(52) & ~0xFFFFFFFF)
        self._doubtful: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    def number(self) -> int:
        """A number that no other call has, of this handle or another. 53 bits: what Lua keeps of a number."""
        return next(self._next)

    def remember(self, call: Hashable, what: Any) -> None:
        """The answer of `call` was lost."""
        self._doubtful.pop(call, None)
        self._doubtful[call] = (time.monotonic() + KEEP, what)
        while len(self._doubtful) > MOST or next(iter(self._doubtful.values()))[0] < time.monotonic():
            self._doubtful.popitem(last=False)

    def recall(self, call: Hashable) -> Any:
        """What was remembered of it, None if nothing."""
        known = self._doubtful.get(call)
        return None if known is None or known[0] < time.monotonic() else known[1]

    def forget(self, call: Hashable) -> None:
        """Its answer arrived."""
        self._doubtful.pop(call, None)
