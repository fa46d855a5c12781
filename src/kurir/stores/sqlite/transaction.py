"""What the steps of one transaction share: the connection, order numbers, and counters written once at its end."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache

from kurir.core.message import State
from kurir.stores.named import statements

Q = statements(__package__, "queries.sql")


class Code(IntEnum):
    """A message's state as the table has it. `SENDING` is not stored: it is the head of a lane in flight."""

    READY = 0
    LATER = 1
    DELIVERED = 2
    DEAD = 3
    CANCELLED = 4
    EXPIRED = 5


CODE_OF = {
    State.DELIVERED: Code.DELIVERED,
    State.DEAD: Code.DEAD,
    State.CANCELLED: Code.CANCELLED,
    State.EXPIRED: Code.EXPIRED,
}
STATE_OF = (State.WAITING, State.WAITING, State.DELIVERED, State.DEAD, State.CANCELLED, State.EXPIRED)

_WAITING, _SENDING, _LANES, _FENCED = 0, 1, 6, 7  # positions in a tally; an ended state stands at its code


@lru_cache(maxsize=4)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86400, UTC).strftime("%Y-%m-%d")


class Transaction:
    """One write transaction. Its counters and order numbers reach the database in `finish`."""

    __slots__ = ("_days", "_last", "_read_last", "_tally", "db")

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._last: int | None = None
        self._read_last: int | None = None
        self._tally: dict[int, list[int]] = {}
        self._days: dict[tuple[int, str], list[int]] = {}

    def last_seq(self) -> int:
        if self._last is None:
            self._last = self._read_last = self.db.execute(Q["last_seq"]).fetchone()[0]
        assert self._last is not None
        return self._last

    def next_seq(self) -> int:
        self._last = self.last_seq() + 1
        return self._last

    def take_seqs(self, n: int) -> int:
        """The first of `n` order numbers in a row."""
        first = self.last_seq() + 1
        self._last = first + n - 1
        return first

    def reach_seq(self, last: int) -> None:
        """Order numbers up to `last` are taken."""
        self._last = max(self.last_seq(), last)

    def _row(self, bot: int) -> list[int]:
        row = self._tally.get(bot)
        if row is None:
            row = self._tally[bot] = [0] * 8
        return row

    def waiting(self, bot: int, n: int) -> None:
        self._row(bot)[_WAITING] += n

    def sending(self, bot: int, n: int) -> None:
        self._row(bot)[_SENDING] += n

    def lanes(self, bot: int, n: int) -> None:
        self._row(bot)[_LANES] += n

    def fenced(self, bot: int) -> None:
        self._row(bot)[_FENCED] += 1

    def ended(self, bot: int, code: Code, now: float, n: int = 1) -> None:
        """`n` messages reached a final state. The day counts what happened and is never taken back."""
        self._row(bot)[code] += n
        self._days.setdefault((bot, _day(int(now // 86400))), [0] * 4)[code - Code.DELIVERED] += n

    def delivered(self, bot: int, now: float, last: bool) -> None:
        """A message in flight was delivered, perhaps the last of its lane."""
        row = self._row(bot)
        row[_SENDING] -= 1
        row[_WAITING] -= 1
        row[_LANES] -= last
        self.ended(bot, Code.DELIVERED, now)

    def revived(self, bot: int, code: Code, n: int = 1) -> None:
        """`n` messages left a final state, or were removed."""
        self._row(bot)[code] -= n

    def finish(self) -> None:
        if self._last != self._read_last:
            self.db.execute(Q["set_last_seq"], (self._last,))
        for bot, tally in self._tally.items():
            if any(tally):
                self.db.execute(Q["add_tally"], (bot, *tally))
        for (bot, day), counts in self._days.items():
            self.db.execute(Q["add_day"], (bot, day, *counts))
