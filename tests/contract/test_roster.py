"""What `attend` promises: who sends, and which bots they hold."""

from __future__ import annotations

from kurir.ports import Roll, Roster, Store, Worker

from .steps import T
from .stores import Place


async def test_one_alone_sees_itself(store: Roster) -> None:
    assert await store.attend("a", [1, 2], T + 10, T) == Roll((Worker("a", T + 10, (1, 2)),), {})


async def test_everybody_sees_everybody_in_the_order_of_their_names(store: Roster) -> None:
    await store.attend("b", [1], T + 10, T)
    await store.attend("c", [2, 3], T + 11, T)
    roll = await store.attend("a", [1, 3], T + 12, T)
    assert roll.workers == (Worker("a", T + 12, (1, 3)), Worker("b", T + 10, (1,)), Worker("c", T + 11, (2, 3)))
    assert (await store.attend("b", [1], T + 10, T)).workers == roll.workers


async def test_who_attends_again_is_one_worker_with_its_newest_bots(store: Roster) -> None:
    await store.attend("a", [1, 2], T + 10, T)
    assert (await store.attend("a", [2, 3, 4], T + 15, T + 5)).workers == (Worker("a", T + 15, (2, 3, 4)),)


async def test_bots_are_told_in_the_order_they_were_given(store: Roster) -> None:
    [worker] = (await store.attend("a", [3, 1, 2], T + 10, T)).workers
    assert worker.bots == (3, 1, 2)


async def test_who_has_no_bots_is_there_all_the_same(store: Roster) -> None:
    assert (await store.attend("a", [], T + 10, T)).workers == (Worker("a", T + 10, ()),)


async def test_whose_time_is_over_is_gone(store: Roster) -> None:
    await store.attend("a", [1], T + 10, T)
    assert [w.holder for w in (await store.attend("b", [1], T + 60, T + 9)).workers] == ["a", "b"]
    assert [w.holder for w in (await store.attend("b", [1], T + 60, T + 10)).workers] == ["b"]
    assert [w.holder for w in (await store.attend("a", [1], T + 90, T + 70)).workers] == ["a"]


async def test_who_leaves_is_gone_at_once(store: Roster) -> None:
    await store.attend("a", [1], T + 10, T)
    await store.attend("b", [1], T + 10, T)
    assert [w.holder for w in (await store.attend("a", [1], T + 1, T + 1)).workers] == ["b"]
    assert [w.holder for w in (await store.attend("b", [1], 0.0, T + 1)).workers] == []


async def test_who_never_came_can_leave(store: Roster) -> None:
    assert await store.attend("a", [1], 0.0, T) == Roll((), {})


async def test_holders_are_those_of_leases_that_hold(store: Store) -> None:
    assert isinstance(store, Roster)
    await store.lease("a", [1, 2], T + 10, T)
    await store.lease("b", [3], T + 20, T)
    assert (await store.attend("b", [3], T + 9, T)).holders == {1: "a", 2: "a", 3: "b"}
    await store.lease("a", [2], 0.0, T + 5)
    assert (await store.attend("b", [3], T + 9, T + 5)).holders == {1: "a", 3: "b"}
    assert (await store.attend("b", [3], T + 30, T + 11)).holders == {3: "b"}
    assert (await store.attend("b", [3], T + 60, T + 30)).holders == {}


async def test_holding_a_lease_is_not_attending_and_attending_is_not_holding(store: Store) -> None:
    assert isinstance(store, Roster)
    await store.lease("a", [1], T + 10, T)
    roll = await store.attend("b", [1, 2], T + 10, T)
    assert ([worker.holder for worker in roll.workers], roll.holders) == (["b"], {1: "a"})


async def test_attending_creates_no_bots(store: Store) -> None:
    assert isinstance(store, Roster)
    await store.attend("a", [1, 2], T + 10, T)
    assert (await store.stats()).bots == ()


async def test_another_handle_sees_the_same(place: Place) -> None:
    one, other = place(), place()
    await one.open()
    await other.open()
    assert isinstance(one, Roster)
    assert isinstance(other, Roster)
    await one.lease("a", [1], T + 10, T)
    await one.attend("a", [1], T + 10, T)
    roll = await other.attend("b", [1, 2], T + 10, T)
    assert roll == Roll((Worker("a", T + 10, (1,)), Worker("b", T + 10, (1, 2))), {1: "a"})
    await one.close()
    await other.close()
