"""A seed replays exactly: the whole trace, the world's journal and the store's records are the same each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .run import simulate
from .scenario import draw

SEEDS = (0, 3, 8, 18, 121, 386)
PROGRAM = "import sys; from tests.simulation.run import simulate; from tests.simulation.scenario import draw; " \
    "print(*(simulate(draw(int(seed))).digest() for seed in sys.argv[1:]))"  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_replays(seed: int) -> None:
    assert simulate(draw(seed)).digest() == simulate(draw(seed)).digest()


@pytest.mark.parametrize("store", ["postgres", "redis"])
def test_a_seed_replays_on_a_server(store: str) -> None:
    first, second = (simulate(draw(8, store)).digest() for _ in range(2))
    assert first == second


def test_a_seed_replays_in_another_process() -> None:
    here = [simulate(draw(seed)).digest() for seed in SEEDS]
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM, *map(str, SEEDS)]
    told = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == here
