"""Many seeds, or one to look at:

python -m tests.simulation --seeds 10000 [--start N] [--jobs 2]
python -m tests.simulation --seed N [--verbose] [--about m17]

Memory and SQLite in turn, as the dice say, or `--store postgres`, on a private server.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
import time
from collections import Counter

from .invariants import check, judge
from .run import Evidence, simulate
from .scenario import draw
from .stores import STORES


def main(argv: list[str] | None = None) -> int:
    asked = _arguments().parse_args(argv)
    if asked.seed is not None:
        return show(asked.seed, asked.store, asked.verbose, asked.about)
    return many(range(asked.start, asked.start + asked.seeds), asked.store, asked.jobs)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--store", choices=sorted(STORES), help="another than the dice say")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--verbose", action="store_true", help="print the whole trace")
    parser.add_argument("--about", help="only lines of the trace that say this")
    return parser


def many(seeds: range, store: str | None, jobs: int) -> int:
    """Judge them all; the exit code says whether a promise broke."""
    began, done, cpu = time.monotonic(), 0, 0.0
    broken: Counter[str] = Counter()
    failing: list[int] = []
    start, end = ("\r", "") if sys.stdout.isatty() else ("", "\n")
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for seed, found, seconds in pool.imap_unordered(functools.partial(judge, store=store), seeds, chunksize=4):
            done, cpu = done + 1, cpu + seconds
            if found:
                failing.append(seed)
                broken.update({one.partition(":")[0] for one in found})
                print(f"{start}seed {seed}: {found[0]}" + (f" (and {len(found) - 1} more)" if found[1:] else ""))
            if done % (10 if start else 200) == 0:
                rate = done / (time.monotonic() - began)
                line = f"{start}{done}/{len(seeds)} seeds, {len(failing)} failing, {rate:.1f}/s"
                print(line, end=end, flush=True)
    print(f"{start}{done} seeds, {len(failing)} failing, {cpu:.0f} s CPU ({cpu / max(1, done):.3f} s each)   ")
    for promise, count in broken.most_common():
        print(f"  {count:5} {promise}")
    if failing:
        print(
            f"replay one: python -m tests.simulation --seed {min(failing)} --verbose"
            + (f" --store {store}" if store else "")
        )
    return 1 if failing else 0


def show(seed: int, store: str | None, verbose: bool, about: str | None) -> int:
    """Play one seed and tell what happened."""
    scenario = draw(seed, store)
    print(f"seed {seed}: {scenario.describe()}")
    for thing in (*scenario.rules, *scenario.outages, *scenario.kills, *scenario.troubles):
        print(f"  {thing}")
    evidence = simulate(scenario)
    found = check(evidence)
    if verbose or about:
        _trace(evidence, about)
    for broken in found:
        print(f"BROKEN {broken}")
    if found and not verbose and not about:
        _trace(evidence, found[0].about[0] if found[0].about else None)
    print(
        f"{len(evidence.records)} messages, digest {evidence.digest()[:16]}: {'BROKEN' if found else 'all promises kept'}"
    )
    return 1 if found else 0


def _trace(evidence: Evidence, about: str | None) -> None:
    for at, who, what, thing in evidence.log.lines:
        line = f"{at:11.4f} {who:12} {what} {'' if thing is None else thing}"
        if about is None or about in line:
            print(line[:600])


if __name__ == "__main__":
    sys.exit(main())
