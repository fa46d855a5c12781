"""Who sends, as the store knows it: for `status` and `doctor`."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from kurir.app import Kurir
from kurir.ports import Roll, Roster
from kurir.records import rfc3339


async def call_roll(kurir: Kurir) -> Roll:
    """Who is there; this command does not join them. Raises StoreError."""
    return await cast("Roster", kurir.store).attend("", (), 0.0, kurir.clock.now())


def workers_json(roll: Roll) -> list[dict[str, Any]]:
    """The workers; the keys are a contract. `sends_for`: how many bots it holds; `could_send_for`: how many it could."""
    holds = Counter(roll.holders.values())
    return [
        {
            "holder": worker.holder,
            "sends_for": holds[worker.holder],
            "could_send_for": len(worker.bots),
            "alive_until": rfc3339(worker.until),
        }
        for worker in roll.workers
    ]


def workers_words(roll: Roll) -> str:
    """`2 workers: web-1:4711:9f sends for 10 bots, web-2:815:3c for 10`."""
    if not roll.workers:
        return "no worker"
    holds = Counter(roll.holders.values())
    each = [f"{worker.holder} sends for {(n := holds[worker.holder])} bot{'s' * (n != 1)}" for worker in roll.workers]
    return f"{len(each)} worker{'s' * (len(each) != 1)}: {', '.join(each)}"
