"""What `settle` promises of several settlements at once: they come one after the other, as they are given."""

from __future__ import annotations

from typing import Any

import pytest

from kurir.core.message import Claim, State
from kurir.ports import Settlement

from .steps import Post, T, call, draft, edit


async def fly(post: Post) -> tuple[Claim, Claim]:
    """`mover` of chat "a" and `old`, an edit, of chat "b" are in flight."""
    await post.submit(draft("mover", "a"), edit("old", chat="b"))
    mover, old = (await post.claim()).claims
    return mover, old


async def together(post: Post, *settlements: Settlement) -> None:
    assert await post.store.settle(settlements, T + 1) == [True] * len(settlements)


@pytest.mark.parametrize("state", [State.WAITING, State.DELIVERED])
async def test_what_a_chat_brings_along_is_newer_than_what_is_settled_behind_it(post: Post, state: State) -> None:
    mover, old = await fly(post)
    await post.submit(edit("new", chat="a"))
    await together(
        post,
        Settlement(mover, state, moved_to="b"),
        Settlement(old, State.WAITING, due_at=T + 60, later=True),
    )
    record = await post.record("old")
    assert (record.state, record.superseded_by) == (State.CANCELLED, "new")
    stats = await post.stats()
    assert (stats.waiting, stats.cancelled, stats.lanes) == (1 + (state is State.WAITING), 1, 1)


async def test_a_chat_that_moves_behind_it_is_too_late_to_supersede_anything(post: Post) -> None:
    mover, old = await fly(post)
    await post.submit(edit("new", chat="a"))
    await together(
        post,
        Settlement(old, State.WAITING, due_at=T + 60, later=True),
        Settlement(mover, State.DELIVERED, moved_to="b"),
    )
    assert await post.state("old") is State.WAITING
    assert await post.drain(at=60) == ["old", "new"]


@pytest.mark.parametrize("moved", [False, True])
async def test_a_follow_up_is_newer_than_what_is_settled_behind_it(post: Post, moved: bool) -> None:
    mover, old = await fly(post)
    follow_up = edit("new", chat="a" if moved else "b")
    await together(
        post,
        Settlement(mover, State.DELIVERED, moved_to="b" if moved else None, follow_ups=(follow_up,)),
        Settlement(old, State.WAITING, due_at=T + 60, later=True),
    )
    record = await post.record("old")
    assert (record.state, record.superseded_by) == (State.CANCELLED, "new")


async def test_a_follow_up_replaces_nothing_that_is_still_in_flight(post: Post) -> None:
    mover, old = await fly(post)
    await together(
        post,
        Settlement(mover, State.DELIVERED, follow_ups=(edit("new", chat="b"),)),
        Settlement(old, State.WAITING),
    )
    assert await post.drain(at=1) == ["old", "new"]


async def test_a_follow_up_replaces_what_was_settled_before_it(post: Post) -> None:
    mover, old = await fly(post)
    await together(
        post,
        Settlement(old, State.WAITING),
        Settlement(mover, State.DELIVERED, follow_ups=(edit("new", chat="b"),)),
    )
    assert (await post.record("old")).superseded_by == "new"
    assert await post.drain(at=1) == ["new"]


@pytest.mark.parametrize(("first", "state"), [("mover", State.WAITING), ("old", State.DEAD)])
async def test_a_suppression_that_comes_with_a_move_spares_what_is_in_flight(
    post: Post, first: str, state: State
) -> None:
    mover, old = await fly(post)
    settlements = [
        Settlement(mover, State.DEAD, moved_to="b", suppress="blocked"),
        Settlement(old, State.WAITING),
    ]
    await together(post, *(settlements if first == "mover" else reversed(settlements)))
    assert await post.state("old") is state
    [late] = await post.submit(draft("late", "b"))
    assert late.state is State.DEAD


async def test_of_two_settlements_of_a_claim_the_first_counts(post: Post) -> None:
    await post.submit(draft("m"))
    claim = await post.one()
    given = [Settlement(claim, State.DEAD, call(0)), Settlement(claim, State.DELIVERED, call(1))]
    assert await post.store.settle(given, T + 1) == [True, False]
    assert await post.state("m") is State.DEAD


@pytest.mark.parametrize("fields", [{"moved_to": "b"}, {"follow_ups": (draft("new", "b"),)}])
async def test_each_is_counted_once_whatever_follows_from_them(post: Post, fields: dict[str, Any]) -> None:
    mover, old = await fly(post)
    stale = Settlement(mover, State.DELIVERED)
    given = [Settlement(mover, State.DELIVERED, **fields), stale, Settlement(old, State.DEAD), stale]
    assert await post.store.settle(given, T + 1) == [True, False, True, False]
    stats = await post.stats()
    assert (stats.delivered, stats.dead, stats.sending, stats.fenced) == (1, 1, 0, 2)
    assert stats.waiting == stats.lanes == len(fields.get("follow_ups", ()))
