"""What `claim` promises: order, priorities, fairness, truthfulness of `next_at`."""

from __future__ import annotations

from kurir.core.message import Priority, State
from kurir.ports import Cancel, Query, Requeue

from .steps import BOT, FOREVER, Post, T, call, draft, ids, low


async def test_one_lane_has_one_message_in_flight(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    assert ids(await post.claim()) == ["1"]
    assert ids(await post.claim()) == []


async def test_messages_of_one_lane_leave_in_the_order_of_acceptance(post: Post) -> None:
    await post.submit(*(draft(str(n)) for n in range(5)))
    await post.submit(draft("5"))
    assert await post.drain() == ["0", "1", "2", "3", "4", "5"]


async def test_within_a_lane_the_more_urgent_goes_first(post: Post) -> None:
    await post.submit(*(draft(p.name, priority=p) for p in sorted(Priority, reverse=True)))
    assert await post.drain() == ["CRITICAL", "HIGH", "NORMAL", "LOW"]


async def test_across_lanes_the_more_urgent_goes_first(post: Post) -> None:
    await post.submit(*(draft(p.name, p.name, priority=p) for p in sorted(Priority, reverse=True)))
    assert ids(await post.claim()) == ["CRITICAL", "HIGH", "NORMAL", "LOW"]


async def test_of_equal_urgency_the_lane_ready_longest_goes_first(post: Post) -> None:
    await post.submit(draft("b", "b"), at=1)
    await post.submit(draft("a", "a"), at=2)
    await post.submit(draft("c", "c"), at=0)
    assert ids(await post.claim(3)) == ["c", "b", "a"]


async def test_lanes_ready_at_the_same_time_go_in_the_order_they_were_made(post: Post) -> None:
    await post.submit(*(draft(name, name) for name in "cab"))
    assert ids(await post.claim()) == ["c", "a", "b"]


async def test_a_lane_that_was_served_goes_behind_those_that_wait(post: Post) -> None:
    await post.submit(*(draft(f"{chat}{n}", chat) for chat in "abc" for n in range(2)))
    order = []
    for second in range(6):
        claim = (await post.claim(second, limit=1)).claims[0]
        order.append(claim.id)
        await post.settle(claim, at=second + 0.5)
    assert order == ["a0", "b0", "c0", "a1", "b1", "c1"]


async def test_a_long_backlog_of_one_chat_does_not_delay_another(post: Post) -> None:
    await post.submit(*(draft(str(n), "busy") for n in range(200)))
    await post.submit(draft("other", "b"), at=1)
    assert ids(await post.claim(1)) == ["0", "other"]


async def test_no_more_than_limit(post: Post) -> None:
    await post.submit(*(draft(str(n), str(n)) for n in range(5)))
    assert ids(await post.claim(limit=3)) == ["0", "1", "2"]
    assert ids(await post.claim(limit=3)) == ["3", "4"]
    assert ids(await post.claim(limit=0)) == []


async def test_some_places_are_for_low_even_when_more_urgent_ones_wait(post: Post) -> None:
    await post.submit(*(low(f"l{n}", f"l{n}") for n in range(4)), *(draft(f"n{n}", f"n{n}") for n in range(4)))
    assert ids(await post.claim(limit=3, low=1)) == ["n0", "n1", "l0"]
    assert ids(await post.claim(limit=3, low=2)) == ["n2", "l1", "l2"]


async def test_low_takes_what_the_more_urgent_leave(post: Post) -> None:
    await post.submit(*(low(f"l{n}", f"l{n}") for n in range(4)), draft("n", "n"))
    assert ids(await post.claim(limit=3, low=1)) == ["n", "l0", "l1"]


async def test_without_places_for_low_the_more_urgent_take_all(post: Post) -> None:
    await post.submit(low("l", "l"), draft("n", "n"))
    assert ids(await post.claim(limit=1)) == ["n"]


async def test_places_for_low_that_low_does_not_need_go_to_others(post: Post) -> None:
    await post.submit(*(draft(f"n{n}", f"n{n}") for n in range(3)), low("l", "l"))
    assert ids(await post.claim(limit=3, low=2)) == ["n0", "n1", "l"]


async def test_a_bot_is_not_given_the_messages_of_another(post: Post) -> None:
    await post.submit(draft("mine"), draft("theirs", bot=2))
    assert ids(await post.claim()) == ["mine"]


# ---------------------------------------------------------------- time


async def test_a_scheduled_message_waits_until_it_is_due(post: Post) -> None:
    await post.submit(draft("m", due=10))
    assert ids(await post.claim(9.5)) == []
    assert ids(await post.claim(10)) == ["m"]


async def test_a_scheduled_message_lets_others_pass_and_then_takes_its_old_place(post: Post) -> None:
    await post.submit(draft("scheduled", due=10), *(draft(str(n)) for n in range(3)))
    claim = await post.one(1)
    assert claim.id == "0"
    await post.settle(claim, at=10)
    assert await post.drain(11) == ["scheduled", "1", "2"]


async def test_the_head_keeps_its_place_through_a_quick_retry(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    await post.retry(await post.one(), due=5)
    assert ids(await post.claim(4)) == []
    assert await post.drain(5) == ["1", "2"]


async def test_a_more_urgent_message_passes_a_head_that_is_to_be_retried(post: Post) -> None:
    await post.submit(draft("1"))
    await post.retry(await post.one(), due=5)
    await post.submit(draft("urgent", priority=Priority.HIGH))
    assert ids(await post.claim(1)) == ["urgent"]


async def test_a_message_on_the_slow_schedule_is_overtaken(post: Post) -> None:
    await post.submit(draft("1"), draft("2"), draft("3"))
    await post.retry(await post.one(), due=5, later=True)
    claim = await post.one(1)
    assert claim.id == "2"
    await post.settle(claim, at=6)
    assert await post.drain(6) == ["1", "3"]


async def test_a_lane_promoted_by_time_is_ready_since_its_message_was_due(post: Post) -> None:
    await post.submit(draft("scheduled", "a", due=10))
    await post.submit(draft("before", "b"), at=9)
    await post.submit(draft("after", "c"), at=11)
    assert ids(await post.claim(20)) == ["before", "scheduled", "after"]


async def test_a_chat_that_is_held_up_sends_nothing(post: Post) -> None:
    await post.submit(draft("1"), draft("2"), draft("b", "b"))
    [first, other] = (await post.claim()).claims
    await post.settle(first, chat=30)
    await post.settle(other)
    assert ids(await post.claim(29)) == []
    assert ids(await post.claim(30)) == ["2"]


# ---------------------------------------------------------------- next_at


async def test_next_at_is_none_when_nothing_waits(post: Post) -> None:
    assert (await post.claim()).next_at is None


async def test_next_at_is_none_when_all_that_waits_is_behind_what_is_in_flight(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    assert (await post.claim()).next_at is None


async def test_next_at_is_now_when_ready_lanes_remain(post: Post) -> None:
    await post.submit(draft("1", "a"), draft("2", "b"))
    assert (await post.claim(7, limit=1)).next_at == T + 7


async def test_next_at_is_the_earliest_time_a_lane_gets_ready(post: Post) -> None:
    await post.submit(draft("a", "a"), draft("b", "b"), draft("c", "c", due=40))
    [a, b] = (await post.claim()).claims
    await post.retry(a, due=20)
    assert (await post.claim(1)).next_at == T + 20
    await post.retry(b, due=15)
    assert (await post.claim(1)).next_at == T + 15
    await post.store.steer(BOT, chat="a", until=T + 50)
    await post.store.steer(BOT, chat="b", until=T + 60)
    assert (await post.claim(16)).next_at == T + 40


async def test_next_at_counts_scheduled_messages(post: Post) -> None:
    await post.submit(draft("a", due=20), draft("b", due=10))
    assert (await post.claim(1)).next_at == T + 10


async def test_next_at_leaves_out_scheduled_messages_of_a_lane_in_flight(post: Post) -> None:
    await post.submit(draft("a"), draft("b", due=10))
    assert (await post.claim(1)).next_at is None


async def test_next_at_of_a_scheduled_message_in_a_chat_held_up_is_when_both_have_passed(post: Post) -> None:
    await post.submit(draft("a", due=10))
    await post.store.steer(BOT, chat="a", until=T + 30)
    assert (await post.claim(1)).next_at == T + 30


async def test_next_at_leaves_out_chats_paused_for_good(post: Post) -> None:
    await post.submit(draft("a"), draft("s", due=5))
    await post.store.steer(BOT, chat="a", until=FOREVER)
    claimed = await post.claim(6)
    assert (ids(claimed), claimed.next_at) == ([], None)


async def test_nothing_is_claimable_before_next_at_and_something_is_then(post: Post) -> None:
    await post.submit(*(draft(f"{n}", f"{n}", due=5 + 3 * n) for n in range(4)))
    seen, at = [], 1.0
    while (claimed := await post.claim(at)).next_at is not None:
        assert ids(await post.claim(claimed.next_at - T - 0.001)) == []
        at = claimed.next_at - T
        claims = (await post.claim(at)).claims
        seen += [claim.id for claim in claims]
        assert claims
    assert seen == ["0", "1", "2", "3"]


# ---------------------------------------------------------------- counters, pauses, suppression


async def test_a_claim_shows_the_counters_of_the_last_settle(post: Post) -> None:
    await post.submit(draft("m"))
    await post.retry(await post.one(), tries=1, doubts=2, crashes=3)
    claim = await post.one(1)
    assert (claim.tries, claim.doubts, claim.crashes, claim.attempts) == (1, 2, 3, 1)


async def test_attempts_count_calls_made(post: Post) -> None:
    await post.submit(draft("m"))
    await post.retry(await post.one())
    await post.retry(await post.one(), attempt=None)
    await post.retry(await post.one(), attempt=call(1, "throttled", 2))
    assert (await post.one()).attempts == 2


async def test_a_paused_bot_gives_nothing_until_its_time(post: Post) -> None:
    await post.submit(draft("m"))
    await post.store.steer(BOT, until=T + 10, reason="flood")
    claimed = await post.claim(5)
    assert (claimed.claims, claimed.next_at) == ((), T + 10)
    assert ids(await post.claim(10)) == ["m"]


async def test_a_bot_paused_for_good_has_no_next_at(post: Post) -> None:
    await post.submit(draft("m"))
    await post.store.steer(BOT, until=FOREVER)
    claimed = await post.claim(5)
    assert (claimed.claims, claimed.next_at) == ((), None)
    await post.store.steer(BOT, until=0)
    assert ids(await post.claim(5)) == ["m"]


async def test_a_claim_tells_that_its_chat_was_suppressed_meanwhile(post: Post) -> None:
    await post.submit(draft("m"))
    claim = await post.one()
    assert claim.suppressed is None
    await post.store.suppress(BOT, "a", "blocked", T)
    await post.retry(claim)
    assert (await post.one(1)).suppressed == "blocked"


async def test_a_cancelled_head_makes_room_for_the_next(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    await post.store.alter(Query(ids=("1",)), Cancel(), T)
    assert ids(await post.claim()) == ["2"]
    assert await post.state("1") is State.CANCELLED


async def test_a_claim_tells_since_when_it_could_leave(post: Post) -> None:
    await post.submit(draft("at once"), draft("scheduled", "b", at=1, due=50), draft("past", "c", at=2, due=-5), at=2)
    claims = {claim.id: claim for claim in (await post.claim(at=50)).claims}
    assert {id: claim.ready_at - T for id, claim in claims.items()} == {"at once": 0, "scheduled": 50, "past": 2}
    await post.retry(claims["scheduled"], at=51, due=60)
    await post.settle(claims["at once"], State.DEAD, at=51)
    again = await post.one(at=60)
    assert (again.id, again.ready_at, again.requeued_at) == ("scheduled", T + 50, None)
    await post.settle(again, State.DEAD, at=61)
    await post.store.alter(Query(states=(State.DEAD,)), Requeue(), T + 70)
    for claim in (await post.claim(at=80)).claims:
        assert (claim.ready_at, claim.requeued_at) == (T + 70, T + 70)


async def test_an_adopted_claim_tells_since_when_it_could_leave(post: Post) -> None:
    await post.submit(draft("1", due=50))
    await post.one(at=50)
    await post.take("successor", at=2e6, until=3e6)
    [claim] = await post.store.adopt(post.lease, 10)
    assert claim.ready_at == T + 50
