"""The simulation finds planted bugs: each within a few seeds, by the promise that it breaks."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from .invariants import check
from .mutations import MUTATIONS, Mutation
from .run import simulate
from .scenario import draw

FOUND_BY = {
    "doubt_taken_for_success": 3,
    "doubt_taken_for_failure": 3,
    "hold_forgotten": 3,
    "hold_forgotten_in_crashes": 29,
    "throttled_is_charged": 3,
    "wait_cut_short": 3,
    "crash_forgotten": 0,
    "lane_freed_early": 0,
    "pace_forgotten_at_restart": 43,
    "suppression_unchecked": 3,
    "retry_loses_its_place": 3,
    "edit_overtakes_a_delete": 9,
    "outage_unseen": 1,
    "fence_ignored": 157,
    "expiry_unchecked": 2,
    "key_ignored": 0,
    "outage_is_charged": 1,
    "doubt_is_fatal": 3,
}
"""The seed that found it first, counted from 0: where to look first."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_simulation_finds(mutation: Mutation) -> None:
    first = FOUND_BY[mutation.name]
    assert any(_finds(mutation, seed) for seed in (first, *range(100))), f"100 seeds miss {mutation.name}"


def _finds(mutation: Mutation, seed: int) -> bool:
    with mutation.plant():
        broken: Iterable[str] = {one.promise for one in check(simulate(draw(seed)))}
    return not set(mutation.promises).isdisjoint(broken)
