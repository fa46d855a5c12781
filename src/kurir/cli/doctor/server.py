"""A store that several machines share: what a crash of it can cost, whether the clocks agree, who sends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from kurir.app import Kurir
from kurir.cli.roll import call_roll, workers_words
from kurir.cli.times import short
from kurir.ports import Stats, TimeKeeper

from .finding import Finding, ok, warning

APART = 60.0  # seconds between two clocks that are worth a word


async def check(kurir: Kurir, stats: Stats) -> AsyncIterator[Finding]:
    """For any store: one of a single machine has less to tell. Raises StoreError."""
    if durability := stats.store.get("durability"):
        yield ok("durability", str(durability))
    for words in stats.store.get("warnings", ()):
        yield warning("durability", str(words), "Change that on the server, or accept what it can cost.")
    if isinstance(kurir.store, TimeKeeper):
        yield _clock(kurir)
    yield ok("workers", workers_words(await call_roll(kurir)))


def _clock(kurir: Kurir) -> Finding:
    ahead = time.time() - kurir.clock.now()
    if abs(ahead) < APART:
        return ok("clock", f"the store's and this machine's differ by {abs(ahead):.1f} s")
    words = f"this machine's is {short(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the store's"
    return warning(
        "clock", words, "Messages leave in time all the same: the store's counts. Set the wrong one right (NTP)."
    )
