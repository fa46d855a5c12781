"""Stores that are moved in the middle of their work go on alike: the same random steps, all answers compared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from kurir.core.rows import Section
from kurir.ports import Portable, Store
from kurir.stores.memory import MemoryStore
from tests.contract.stores import STORES, Places

from .test_store_machine import BOTS, HOLDERS, StoreMachine, inline_sqlite

BUSY = 60  # questions between two moves: some fifteen steps


class MoveMachine(StoreMachine):
    """Now and then both move: what the one held goes into a fresh store of the other's kind."""

    def __init__(self) -> None:
        super().__init__()
        self.moves = 0
        self.busy = 0  # questions since the last move

    def ask(self, verb: Callable[[int, Store], Awaitable[Any]]) -> list[Any]:
        self.busy += 1
        return super().ask(verb)

    @precondition(lambda self: self.busy > BUSY)
    @rule(limit=st.integers(1, 7), twice=st.booleans())
    def move(self, limit: int, twice: bool) -> None:
        for holder in HOLDERS:
            self.ask(lambda n, store, holder=holder: store.lease(holder, BOTS, 0.0, self.now))
        old, self.stores = self.stores, [("memory", MemoryStore()), (self.name, self.fresh())]
        for (_, source), (_, target) in zip(old, reversed(self.stores), strict=True):
            self._do(target.open())
            for _ in range(1 + twice):
                self._do(carry(source, target, limit))
            self._do(source.close())
        self.busy = 0
        self.leases.clear()
        self.claims.clear()
        self.lease("left", BOTS, 1e6)

    def fresh(self) -> Store:
        """Another store of that kind."""
        self.moves += 1
        folder = self.folder / f"move-{self.moves}"
        folder.mkdir()
        return self.places.enter_context(type(self).other(folder))()

    def _do(self, work: Awaitable[Any]) -> None:
        self.loop.run_until_complete(work)


async def carry(source: Store, target: Store, limit: int) -> None:
    """Every row, `limit` at a time."""
    there, here = cast("Portable", source), cast("Portable", target)
    for section in Section:
        cursor: str | None = None
        while True:
            chunk = await there.dump(section, cursor, limit)
            await here.load(section, chunk.rows)
            if chunk.next is None:
                break
            cursor = chunk.next


def machine(store: str, place: Places, examples: int) -> type[RuleBasedStateMachine.TestCase]:
    made = type(f"Move{store.title()}Machine", (MoveMachine,), {"name": store, "other": staticmethod(place)})
    made.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=100,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    return made.TestCase


TestMoveSqlite = machine("sqlite", inline_sqlite, 60)
TestMovePostgres = machine("postgres", STORES["postgres"], 10)
TestMoveRedis = machine("redis", STORES["redis"], 15)
