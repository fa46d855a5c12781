"""E14: a full disk is told, loses nothing that was accepted, and is got over by itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from kurir.simulator.server import SimulatorServer
from kurir.simulator.world import World

from .processes import ROOT


async def _run(program: str, store: Path, url: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.programs", program, store, url, cwd=ROOT, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    answer: dict[str, Any] = json.loads(out)
    return answer


async def test_a_full_disk_refuses_submitters_clearly_and_keeps_what_it_accepted(world: World, tmp_path: Path) -> None:
    async with SimulatorServer(world) as server:
        told = await _run("full-submit", tmp_path / "kurir.db", server.url)
    arrived = {entry.mark.rstrip("x") for entry in world.journal.sent() if entry.mark}
    print(f"accepted {len(told['accepted'])}, refused {len(told['refused'])}, arrived {len(arrived)}")
    assert told["full"] > 0
    assert "Free disk space" in told["remedy"]
    assert arrived == set(told["accepted"])
    assert {f"m{n}" for n in range(1000, 1100)} <= arrived


async def test_results_wait_for_room_and_nothing_is_sent_twice(world: World, tmp_path: Path) -> None:
    async with SimulatorServer(world) as server:
        told = await _run("full-settle", tmp_path / "kurir.db", server.url)
    report = world.journal.report({1000 + c: [f"m{n}" for n in range(c, 500, 50)] for c in range(50)})
    print(f"delivered before and while full {told['delivered_while_full']}, in the end {told['delivered']}")
    assert told["delivered"] == 500
    assert (report.lost, report.doubled, report.reordered) == ((), (), ())
