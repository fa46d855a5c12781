"""200 seeds keep every promise. (`make seeds`: 10,000.)"""

from __future__ import annotations

import pytest

from .invariants import check
from .run import simulate
from .scenario import draw

SEEDS = 200
BLOCK = 10


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_every_promise_is_kept(first: int) -> None:
    for seed in range(first, first + BLOCK):
        broken = check(simulate(draw(seed)))
        assert not broken, f"seed {seed}: {broken[0]} -- python -m tests.simulation --seed {seed} --verbose"
