"""A stage with a store that can leave and a spool in a folder, for the tests of the spool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kurir import Kurir
from kurir.ports import Store
from kurir.stores.journal import Journal
from kurir.stores.memory import MemoryStore
from tests.outages import with_outages

from .helpers import Stage, stage


class Scene:
    """A stage, a store that can leave, and a journal in `folder`."""

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        self.folder = folder
        self.stage: Stage = stage()
        self.clock = self.stage.clock
        self.store, self.outages = with_outages(store or MemoryStore())
        self.accept: Callable[[], None] = lambda: None  # what the store refused, from now on

    def kurir(self, store: Store | None = None, **options: Any) -> Kurir:
        return self.stage.kurir(store or self.store, journal=Journal(self.folder / "spool.db", inline=True), **options)

    def heard(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.stage.heard if isinstance(event, kind)]

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)


@asynccontextmanager
async def playing(folder: Path, **options: Any) -> AsyncIterator[tuple[Kurir, Scene]]:
    scene = Scene(folder)
    try:
        async with scene.kurir(**options) as kurir:
            yield kurir, scene
    finally:
        scene.stage.world.close()


def holds(kurir: Kurir) -> bool:
    assert kurir.spooling is not None
    return kurir.spooling.journal.holds()
