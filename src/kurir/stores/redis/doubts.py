"""Claims and adoptions whose answers were lost: the lanes they took wait to be told of by the next of the kind."""

from __future__ import annotations

import time
from collections.abc import Sequence

from kurir.ports import Lease

LATE = 600.0  # seconds after which a call that was sent cannot reach the server any more


class Doubt:
    """Of one lease: numbers of calls that may have been carried out, and whose answers nobody had."""

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent: dict[int, float] = {}

    def numbers(self) -> tuple[int, ...]:
        return tuple(self._sent)

    def add(self, number: int) -> None:
        """Its answer was lost."""
        self._sent[number] = time.monotonic()

    def told(self, numbers: Sequence[int]) -> None:
        """All that these had taken was told of. A call that may yet arrive is asked for again."""
        late = time.monotonic() - LATE
        for number in numbers:
            if self._sent.get(number, 0.0) < late:
                self._sent.pop(number, None)


class Doubts:
    """Of each verb and bot, under the newest token: what was taken under an older one is adopted."""

    def __init__(self) -> None:
        self._by_bot: dict[tuple[str, int], tuple[int, Doubt]] = {}

    def of(self, verb: str, lease: Lease) -> Doubt:
        token, doubt = self._by_bot.get((verb, lease.bot), (0, None))
        if doubt is None or token < lease.token:
            doubt = Doubt()
            self._by_bot[verb, lease.bot] = (lease.token, doubt)
        return doubt
