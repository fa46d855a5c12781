"""What a waiting message takes: of memory, and of the disk."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import uvloop

from bench.floors import BareTable, row
from bench.report import Figure, Target
from bench.rounds import take_turns
from bench.world import BODY, Ends, NoSender, Run, copied, fill, make_kurir, stocked
from kurir.ports import Store
from kurir.stores.sqlite import SqliteStore

PER_CHAT = 10
MIB = 1024 * 1024


def memory(run: Run) -> list[Figure]:
    """The resident memory of a working process, with much waiting and with little."""
    many, few = run.size(1_000_000, 50_000), 1_000
    sent = run.size(5_000, 1_000)
    stocks = {count: stocked(run, count, count // PER_CHAT) for count in (many, few)}
    with run.folder() as one, run.folder() as two:
        paths = {"much waits": copied(stocks[many], one), "little waits": copied(stocks[few], two)}
        measured = take_turns(3, {name: partial(_resident, path, sent) for name, path in paths.items()}, run.say)
    much, little = measured["much waits"], measured["little waits"]
    more = [a - b for a, b in zip(much, little, strict=True)]
    return [
        Figure(
            f"memory for {many:,} waiting, beyond that for {few:,}",
            median(more),
            "MiB",
            f"all of it at {few:,}",
            median(little),
            median(a / b for a, b in zip(much, little, strict=True)),
            Target("value", 50, most=True),
            f"peak resident size after {sent:,} deliveries; ratio: all of it at {many:,} to that",
            tuple(more),
        )
    ]


def _resident(path: Path, sent: int) -> float:
    """MiB of a fresh process that opens the store, takes and delivers `sent` messages."""
    command: Sequence[str] = (sys.executable, "-m", "bench.resident", str(path), str(sent))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    peak: float = json.loads(done.stdout)["peak"]
    return peak / MIB


def disk(run: Run) -> list[Figure]:
    """Bytes of the files for a waiting message, and whether the room of delivered and pruned ones is used again."""
    count = run.size(40_000, 4_000)
    with run.folder() as folder:
        path = folder / "kurir.db"
        sizes = []
        for turn in (1, 2):
            run.say(f"round {turn} of 2: {count:,} accepted, delivered, pruned")
            waiting = uvloop.run(_accept(path, count))
            uvloop.run(_deliver(path, count))
            sizes.append((waiting, _size(path)))
        bare = _bare_size(folder, count)
    per_message = sizes[0][0] / count
    return [
        Figure(
            f"disk for a waiting message of {len(BODY)} bytes",
            per_message,
            "bytes",
            "a bare row",
            bare / count,
            per_message / (bare / count),
            Target("value", 800, most=True),
        ),
        Figure(
            "disk after a second round of deliveries",
            sizes[1][1] / MIB,
            "MiB",
            "after the first",
            sizes[0][1] / MIB,
            sizes[1][1] / sizes[0][1],
            Target("ratio", 1.05, most=True),
            f"{count:,} accepted, delivered and pruned, twice",
        ),
    ]


async def _accept(path: Path, count: int) -> int:
    store = SqliteStore(path)
    await store.open()
    await fill(store, count, count // PER_CHAT)
    await store.close()
    return _size(path)


async def _deliver(path: Path, count: int) -> None:
    """Deliver all, and prune them as if the history had passed."""
    ends = Ends(count)
    async with make_kurir(path, courier=True, transport=NoSender(), listeners=(ends,)) as kurir:
        await ends.reached()
        await _prune(kurir.store)


async def _prune(store: Store) -> None:
    later = time.time() + 86400
    while (await store.prune(later, later, 1000)).messages:
        pass


def _size(path: Path) -> int:
    """Bytes of the database and its log; a store that is closed has written the log back."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*") if file.is_file())


def _bare_size(folder: Path, count: int) -> int:
    path = folder / "bare.db"
    table = BareTable(path)
    for start in range(0, count, 1000):
        table.commit(row(number) for number in range(start, start + 1000))
    table.close()
    return _size(path)
