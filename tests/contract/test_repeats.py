"""A submit whose answer was lost is made once more, with the same ids: nothing is kept twice."""

from __future__ import annotations

import pytest

from kurir.core.errors import KeyConflict
from kurir.core.message import State
from kurir.ports import Cancel, Query

from .steps import BOT, Post, T, draft, edit


async def test_the_same_submit_is_answered_the_same(post: Post) -> None:
    drafts = [draft(f"m{n}", chat="ab"[n % 2]) for n in range(6)]
    first = await post.submit(*drafts)
    assert await post.submit(*drafts, at=5) == first
    assert [record.id for record in (await post.store.find(Query(oldest_first=True))).items] == [d.id for d in drafts]
    assert (await post.stats()).waiting == 6


async def test_its_own_key_does_not_make_it_a_duplicate(post: Post) -> None:
    given = draft("m", key="k", digest=b"1")
    [first] = await post.submit(given)
    [again] = await post.submit(given, at=5)
    assert (first.duplicate, again) == (False, first)
    [other] = await post.submit(draft("n", key="k", digest=b"1"), at=6)
    assert (other.id, other.seq, other.duplicate) == ("m", first.seq, True)


async def test_it_is_answered_as_the_message_stands(post: Post) -> None:
    given = draft("m")
    [first] = await post.submit(given)
    claim = await post.one()
    [again] = await post.submit(given)
    assert (again.id, again.state, again.duplicate, again.seq) == ("m", State.SENDING, False, first.seq)
    await post.settle(claim)
    [again] = await post.submit(given, at=5)
    assert (again.id, again.state, again.duplicate, again.seq) == ("m", State.DELIVERED, False, first.seq)
    assert await post.drain(9) == []


async def test_what_it_had_done_is_not_done_again(post: Post) -> None:
    """A message cancelled meanwhile stays cancelled; another that came meanwhile is not superseded."""
    given = edit("e1")
    await post.submit(given)
    await post.store.alter(Query(ids=("e1",)), Cancel(), T + 1)
    await post.submit(edit("e2"), at=2)
    [again] = await post.submit(given, at=3)
    assert (again.id, again.state, again.duplicate) == ("e1", State.CANCELLED, False)
    assert await post.drain(4) == ["e2"]


async def test_force_lifts_no_suppression_that_came_later(post: Post) -> None:
    given = draft("m", force=True)
    await post.submit(given)
    await post.store.suppress(BOT, "a", "blocked", T + 1)
    [again] = await post.submit(given, at=2)
    assert (again.state, again.duplicate) == (State.DEAD, False)
    [later] = await post.submit(draft("n"), at=3)
    assert later.state is State.DEAD


async def test_known_ones_and_new_ones_in_one_batch(post: Post) -> None:
    known = await post.submit(draft("m1"), draft("m3", "b"))
    answers = await post.submit(draft("m0"), draft("m1"), draft("m2", "b"), draft("m3", "b"), draft("m4"), at=5)
    assert [answer.id for answer in answers] == ["m0", "m1", "m2", "m3", "m4"]
    assert (answers[1], answers[3]) == (known[0], known[1])
    assert len({answer.seq for answer in answers}) == 5
    assert (await post.stats()).waiting == 5
    sent = await post.drain(6)
    assert [[id for id in sent if id in lane] for lane in (("m0", "m1", "m4"), ("m2", "m3"))] == [
        ["m1", "m0", "m4"],
        ["m3", "m2"],
    ]


async def test_known_ones_stay_when_the_batch_is_refused(post: Post) -> None:
    await post.submit(draft("m"), draft("k", key="k", digest=b"1"))
    with pytest.raises(KeyConflict):
        await post.submit(draft("m"), draft("n"), draft("other", key="k", digest=b"2"), at=5)
    assert await post.found(oldest_first=True) == ["m", "k"]


async def test_the_same_id_twice_in_a_batch_is_one_message(post: Post) -> None:
    first, second = await post.submit(draft("m"), draft("m"))
    assert (
        (first.id, first.seq, first.duplicate) == (second.id, second.seq, second.duplicate) == ("m", first.seq, False)
    )
    assert await post.drain() == ["m"]


async def test_a_repeat_to_a_chat_that_moved_is_known(post: Post) -> None:
    given = draft("m", "old")
    [first] = await post.submit(given)
    await post.retry(await post.one(), moved_to="new", at=1)
    [again] = await post.submit(given, at=2)
    assert (again.id, again.seq, again.duplicate) == ("m", first.seq, False)
    assert await post.drain(3) == ["m"]


async def test_the_same_keyed_draft_twice_in_a_batch_is_one_message(post: Post) -> None:
    given = draft("m", key="k", digest=b"1")
    first, second = await post.submit(given, given)
    assert (first.id, first.duplicate, second.id, second.duplicate, second.seq) == ("m", False, "m", False, first.seq)
    assert await post.drain() == ["m"]
