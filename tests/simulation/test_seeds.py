"""200 seeds keep every promise. (`make seeds`: 10,000.) A few of them on each server."""

from __future__ import annotations

import pytest

from .invariants import check
from .run import simulate
from .scenario import draw

SEEDS = 200
BLOCK = 10
ON_SERVERS = (*range(9), 29, 43, 121)  # the first, and some that have found something


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_every_promise_is_kept(first: int) -> None:
    for seed in range(first, first + BLOCK):
        _keeps(seed)


@pytest.mark.parametrize("seed", ON_SERVERS)
@pytest.mark.parametrize("store", ["postgres", "redis"])
def test_every_promise_is_kept_on_a_server(store: str, seed: int) -> None:
    _keeps(seed, store)


def _keeps(seed: int, store: str | None = None) -> None:
    broken = check(simulate(draw(seed, store)))
    again = f"python -m tests.simulation --seed {seed} --verbose" + (f" --store {store}" if store else "")
    assert not broken, f"seed {seed}: {broken[0]} -- {again}"
