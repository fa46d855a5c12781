"""Which processes send: `ports.Roster`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from kurir.ports import Roll, Worker

from .transaction import Q, Transaction


def attend(
    tx: Transaction, holder: str, bots: Sequence[int], until: float, now: float, is_dead: Callable[[str], bool]
) -> Roll:
    """See `ports.Roster.attend`. `is_dead` tells whether another holder's process is gone."""
    if until > now:
        tx.db.execute(Q["worker_attends"], (holder, until, orjson.dumps(bots).decode()))
    else:
        tx.db.execute(Q["worker_leaves"], (holder,))
    dead: dict[str, bool] = {}

    def gone(other: str) -> bool:
        if other not in dead:
            dead[other] = other != holder and is_dead(other)
        return dead[other]

    workers = []
    for other, alive_until, its_bots in tx.db.execute(Q["workers"]).fetchall():
        if alive_until <= now or gone(other):
            tx.db.execute(Q["worker_leaves"], (other,))
        else:
            workers.append(Worker(other, alive_until, tuple(orjson.loads(its_bots))))
    leases = tx.db.execute(Q["leases"], (now,)).fetchall()
    return Roll(tuple(workers), {bot: owner for bot, owner in leases if not gone(owner)})
