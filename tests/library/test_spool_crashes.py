"""A process that dies at any step of forwarding: nothing is lost, and nothing is doubled."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kurir.core.message import State
from kurir.services.forwarding import Forwarding
from kurir.services.shelter import Shelter
from kurir.stores.journal import Journal
from kurir.telegram.spool import Spool

from .helpers import a_store, in_virtual_time, until
from .spooling import Scene, holds

# ---------------------------------------------------------------- crashes and other processes


class Crash(BaseException):
    """The process dies here."""


class Steps:
    """Stands before the journal or the store; dies before or after the `fatal`-th step of both together."""

    def __init__(self, fatal: int, when: str) -> None:
        self.fatal = fatal
        self.when = when
        self.taken: list[str] = []

    def before(self, inner: Any) -> Any:
        return _Stepping(inner, self)


class _Stepping:
    def __init__(self, inner: Any, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        steps = self._steps
        if not asyncio.iscoroutinefunction(found):
            return found

        async def step(*args: Any, **more: Any) -> Any:
            steps.taken.append(name)
            fatal = len(steps.taken) == steps.fatal
            if fatal and steps.when == "before":
                raise Crash
            answer = await found(*args, **more)
            if fatal:
                raise Crash
            return answer

        return step


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_step_of_forwarding_loses_and_doubles_nothing(kind: str, when: str, tmp_path: Path) -> None:
    taken: set[str] = set()
    for fatal in range(1, 100):
        folder = tmp_path / str(fatal)
        folder.mkdir()
        steps = Steps(fatal, when)
        _crash_in(folder, kind, steps)
        taken |= set(steps.taken)
        if len(steps.taken) < fatal:
            break
    assert taken == {"head", "submit", "doom", "alter", "remove"}
    assert fatal > 10


@in_virtual_time
async def _crash_in(folder: Path, kind: str, steps: Steps) -> None:
    scene = Scene(folder, a_store(kind, folder))
    async with scene.kurir() as kurir:
        first = await kurir.send_text(42, "first", idempotency_key="k")
        twin = await kurir.send_text(42, "twin", idempotency_key="t")
        await twin.delivered(timeout=10)
        scene.outages.leave()
        receipts = [await kurir.send_text(42, f"number {number}") for number in range(5)]
        conflict = await kurir.send_text(42, "other", idempotency_key="k")
        same = await kurir.send_text(42, "twin", idempotency_key="t")
        end = await kurir.send_text(42, "the end")
    scene.outages.come_back()
    await _forward_and_die(scene, steps)
    async with scene.kurir() as kurir:
        for receipt in (*receipts, end):
            await kurir.end(receipt.id, 60)
        assert (await kurir.end(conflict.id, 60)).state is State.CANCELLED
        assert (await kurir.end(same.id, 60)).id == twin.id
        await until(lambda: not holds(kurir), scene.clock)
        stored = (await kurir.find(limit=1000)).items
        ids = [receipt.id for receipt in (first, twin, *receipts, conflict, same, end)]
        assert sorted(record.id for record in stored) == sorted(ids)
    assert scene.stage.texts(42) == ["first", "twin", *(f"number {number}" for number in range(5)), "the end"]
    scene.stage.world.close()


async def _forward_and_die(scene: Scene, steps: Steps) -> None:
    """A process that forwards without sending, and dies at its fatal step."""
    journal = Journal(scene.folder / "spool.db", inline=True)
    await journal.open()
    await scene.store.open()
    store, stepping = steps.before(scene.store), steps.before(journal)
    shelter = Shelter(Spool(scene.folder / "spool.db.files"), None)
    loop = Forwarding(stepping, store, scene.clock, random.Random(1), scene.stage.heard.append, shelter)
    with suppress(Crash):
        await loop.drain()
    await journal.close()
    await scene.store.close()
