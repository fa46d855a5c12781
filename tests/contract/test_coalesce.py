"""Superseded edits collapse into the newest."""

from __future__ import annotations

from kurir.core.message import Priority, State

from .steps import Post, T, draft, edit, ids


async def test_an_older_waiting_edit_of_the_same_target_gives_way(post: Post) -> None:
    await post.submit(edit("e1"))
    await post.submit(edit("e2"), at=2)
    old = await post.record("e1")
    assert (old.state, old.reason, old.superseded_by) == (State.CANCELLED, "superseded", "e2")
    assert old.ended_at == T + 2
    assert await post.drain(3) == ["e2"]


async def test_within_a_batch_only_the_newest_is_left(post: Post) -> None:
    await post.submit(*(edit(f"e{n}") for n in range(5)))
    assert await post.found(states=(State.WAITING,)) == ["e4"]
    assert (await post.record("e3")).superseded_by == "e4"


async def test_the_answer_names_the_message_that_gave_way(post: Post) -> None:
    [first] = await post.submit(edit("e1"))
    [second] = await post.submit(edit("e2"))
    third, other, fourth = await post.submit(edit("e3"), edit("x", 6), edit("e4"))
    assert [a.replaces for a in (first, second, third, other, fourth)] == [None, "e1", "e2", None, "e3"]


async def test_the_answer_names_it_also_when_its_place_is_not_taken_over(post: Post) -> None:
    await post.submit(edit("e1"), draft("pin", method="pinChatMessage", target="5:pinChatMessage"))
    [answer] = await post.submit(edit("e2"))
    assert answer.replaces == "e1"


async def test_what_replaced_nothing_says_so(post: Post) -> None:
    await post.submit(edit("e1"))
    claim = await post.one()
    [behind_flight] = await post.submit(edit("e2"))
    [plain] = await post.submit(draft("e3", method="editMessageText", target="5:editMessageText"))
    await post.settle(claim)
    await post.store.suppress(1, "a", "blocked", T)
    [dead] = await post.submit(edit("e4"))
    assert [a.replaces for a in (behind_flight, plain, dead)] == [None] * 3


async def test_the_newest_takes_the_place_of_the_older(post: Post) -> None:
    await post.submit(draft("first"), edit("e1"), draft("last"))
    await post.submit(edit("e2"))
    assert await post.drain(1) == ["first", "e2", "last"]


async def test_another_operation_on_the_same_message_in_between_keeps_the_newest_behind_it(
    post: Post,
) -> None:
    between = draft("delete", method="pinChatMessage", target="5:pinChatMessage")
    await post.submit(edit("e1"), between, draft("other"))
    await post.submit(edit("e2"))
    assert await post.drain(1) == ["delete", "other", "e2"]
    assert await post.state("e1") is State.CANCELLED


async def test_an_operation_on_another_message_in_between_does_not_matter(post: Post) -> None:
    between = draft("other", method="deleteMessage", target="55:deleteMessage")
    await post.submit(edit("e1"), between)
    await post.submit(edit("e2"))
    assert await post.drain(1) == ["e2", "other"]


async def test_an_operation_on_the_same_message_in_front_does_not_matter(post: Post) -> None:
    front = draft("pin", method="pinChatMessage", target="5:pinChatMessage")
    await post.submit(front, edit("e1"), draft("last"))
    await post.submit(edit("e2"))
    assert await post.drain(1) == ["pin", "e2", "last"]


async def test_what_is_in_flight_is_not_replaced(post: Post) -> None:
    await post.submit(edit("e1"))
    claim = await post.one()
    await post.submit(edit("e2"))
    assert await post.state("e1") is State.SENDING
    assert await post.settle(claim)
    assert await post.drain(1) == ["e2"]


async def test_an_operation_in_flight_in_between_may_come_back_and_counts(post: Post) -> None:
    await post.submit(edit("e1"), draft("pin", method="pinChatMessage", target="5:pinChatMessage"))
    edited = await post.one()
    await post.retry(edited, due=100, later=True)
    pin = await post.one(1)
    await post.submit(edit("e2"), at=1)
    await post.retry(pin, at=2, due=2)
    assert await post.drain(3) == ["pin", "e2"]


async def test_an_edit_on_its_slow_schedule_is_replaced_too(post: Post) -> None:
    await post.submit(edit("e1"), draft("last"))
    await post.retry(await post.one(), due=100, later=True)
    await post.submit(edit("e2"))
    assert await post.drain(1) == ["e2", "last"]
    assert await post.state("e1") is State.CANCELLED


async def test_only_with_coalesce(post: Post) -> None:
    await post.submit(edit("e1"))
    await post.submit(draft("e2", method="editMessageText", target="5:editMessageText"))
    assert await post.drain(1) == ["e1", "e2"]


async def test_only_the_same_target(post: Post) -> None:
    await post.submit(edit("e1", 5), edit("e2", 6), edit("e3", 5, "editMessageCaption"))
    assert await post.drain(1) == ["e1", "e2", "e3"]


async def test_only_the_same_lane(post: Post) -> None:
    await post.submit(edit("e1"), edit("e2", chat="b"), edit("e3", bot=2))
    assert await post.drain(1) == ["e1", "e2"]


async def test_only_the_same_priority(post: Post) -> None:
    await post.submit(edit("e1"), edit("e2", priority=Priority.HIGH))
    assert await post.drain(1) == ["e2", "e1"]


async def test_what_is_final_is_left_alone(post: Post) -> None:
    await post.submit(edit("e1"))
    await post.drain()
    await post.submit(edit("e2"))
    assert (await post.record("e1")).superseded_by is None


async def test_a_replaced_head_keeps_the_turn_of_its_lane(post: Post) -> None:
    await post.submit(edit("e1"), at=0)
    await post.submit(draft("other", "b"), at=1)
    await post.submit(edit("e2"), at=2)
    assert ids(await post.claim(3, limit=1)) == ["e2"]


async def test_what_goes_on_the_slow_schedule_gives_way_to_a_newer_one_that_waits(post: Post) -> None:
    await post.submit(edit("e1"))
    claim = await post.one()
    await post.submit(edit("e2"), edit("pin", method="pinChatMessage"), edit("e3"))
    assert await post.retry(claim, at=2, due=300, later=True, reason="Bad Gateway", tries=6)
    old = await post.record("e1")
    assert (old.state, old.reason, old.superseded_by) == (State.CANCELLED, "superseded", "e3")
    assert (old.ended_at, len(old.attempts)) == (T + 2, 1)
    assert await post.drain(3) == ["pin", "e3"]


async def test_a_quick_retry_does_not_give_way(post: Post) -> None:
    await post.submit(edit("e1"))
    claim = await post.one()
    await post.submit(edit("e2"))
    await post.retry(claim, at=1, due=2)
    assert await post.drain(3) == ["e1", "e2"]


async def test_counts_stay_true(post: Post) -> None:
    await post.submit(*(edit(f"e{n}") for n in range(3)))
    stats = await post.stats()
    assert (stats.waiting, stats.cancelled, stats.lanes) == (1, 2, 1)


async def test_one_superseded_in_its_own_batch_is_answered_as_it_was_accepted(post: Post) -> None:
    await post.submit(edit("e0"))
    first, second = await post.submit(edit("e1"), edit("e2"), at=1)
    assert (first.state, first.replaces, second.state, second.replaces) == (State.WAITING, "e0", State.WAITING, "e1")
    assert [await post.state(id) for id in ("e0", "e1", "e2")] == [State.CANCELLED, State.CANCELLED, State.WAITING]
