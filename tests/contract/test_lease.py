"""Leases, fencing tokens, and what a dead courier left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kurir.core.message import State
from kurir.ports import Query, Settlement, Store

from .steps import BOT, FOREVER, Post, T, call, draft, ids


async def test_the_first_holder_gets_token_1(store: Store) -> None:
    [lease] = await store.lease("a", [BOT], T + 10, T)
    assert (lease.bot, lease.holder, lease.token, lease.until) == (BOT, "a", 1, T + 10)
    assert (lease.paused_until, lease.paused_why, lease.orphans, lease.recent) == (0.0, None, False, ())


async def test_several_bots_are_leased_at_once(store: Store) -> None:
    leases = await store.lease("a", [3, 1, 2], T + 10, T)
    assert [lease.bot for lease in leases] == [3, 1, 2]
    assert [bot.bot for bot in (await store.stats()).bots] == [1, 2, 3]


async def test_a_held_bot_is_not_given_to_another(store: Store) -> None:
    await store.lease("a", [1], T + 10, T)
    [lease] = await store.lease("b", [1, 2], T + 20, T + 5)
    assert lease.bot == 2


async def test_the_holder_renews_and_keeps_its_token(store: Store) -> None:
    await store.lease("a", [BOT], T + 10, T)
    [lease] = await store.lease("a", [BOT], T + 20, T + 5)
    assert (lease.token, lease.until) == (1, T + 20)


async def test_the_holder_keeps_its_token_if_nobody_took_the_bot_meanwhile(store: Store) -> None:
    await store.lease("a", [BOT], T + 10, T)
    [lease] = await store.lease("a", [BOT], T + 60, T + 50)
    assert lease.token == 1


async def test_a_lease_that_ran_out_goes_to_who_asks(store: Store) -> None:
    await store.lease("a", [BOT], T + 10, T)
    [lease] = await store.lease("b", [BOT], T + 60, T + 50)
    assert (lease.holder, lease.token) == ("b", 2)
    assert await store.lease("a", [BOT], T + 60, T + 51) == []


async def test_a_lease_given_up_goes_to_who_asks(store: Store) -> None:
    await store.lease("a", [BOT], T + 10, T)
    assert await store.lease("a", [BOT], T + 1, T + 1) == []
    [lease] = await store.lease("b", [BOT], T + 9, T + 1)
    assert lease.token == 2


async def test_a_holder_that_gave_up_gets_a_new_token(store: Store) -> None:
    await store.lease("a", [BOT], T + 10, T)
    await store.lease("a", [BOT], 0.0, T + 1)
    [lease] = await store.lease("a", [BOT], T + 9, T + 1)
    assert lease.token == 2


async def test_nobody_gives_up_what_another_holds(store: Store) -> None:
    await store.lease("a", [BOT], T + 10, T)
    await store.lease("b", [BOT], 0.0, T + 1)
    assert await store.lease("b", [BOT], T + 9, T + 1) == []


async def test_the_stats_show_the_holder(post: Post) -> None:
    await post.take("courier", until=30)
    stats = await post.stats()
    assert (stats.holder, stats.lease_until) == ("courier", T + 30)
    await post.store.lease("courier", [BOT], 0.0, T)
    stats = await post.stats()
    assert (stats.holder, stats.lease_until) == (None, None)


async def test_a_lease_tells_of_the_bots_pause(post: Post) -> None:
    await post.store.steer(BOT, until=FOREVER, reason="401 Unauthorized")
    lease = await post.take()
    assert (lease.paused_until, lease.paused_why) == (FOREVER, "401 Unauthorized")


# ---------------------------------------------------------------- who may claim


async def test_a_lease_that_ran_out_claims_nothing(post: Post) -> None:
    await post.submit(draft("m"))
    await post.take(until=10)
    claimed = await post.claim(10.5)
    assert (claimed.claims, claimed.next_at) == ((), None)


async def test_what_counts_is_the_lease_as_stored(post: Post) -> None:
    await post.submit(draft("m"))
    old = await post.take(until=10)
    await post.take(until=60)
    assert len((await post.store.claim(old, T + 30, 1)).claims) == 1


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_result_is_taken_after_the_lease_ended_until_another_holder_adopts_the_claim(
    post: Post, given_up: bool
) -> None:
    await post.submit(draft("m1", "a"), draft("m2", "b"))
    await post.take(until=10)
    first, second = (await post.claim()).claims
    if given_up:
        await post.leave(at=1)
    assert await post.settle(first, at=60)
    assert (await post.record(first.id)).state is State.DELIVERED
    await post.take("another", at=70, until=80)
    await post.store.adopt(post.lease, 10)
    assert not await post.settle(second, at=75)


async def test_a_lease_given_up_claims_and_adopts_nothing(post: Post) -> None:
    await post.submit(draft("m"))
    await post.store.lease("courier", [BOT], 0.0, T)
    assert ids(await post.claim()) == []
    assert await post.store.adopt(post.lease, 10) == []


async def test_a_stale_lease_claims_and_adopts_nothing(post: Post) -> None:
    await post.submit(draft("m"), draft("n", "b"))
    await post.take(until=10)
    await post.claim(limit=1)
    stale = post.lease
    await post.take("successor", at=20)
    assert (await post.store.claim(stale, T + 20, 10)).claims == ()
    assert await post.store.adopt(stale, 10) == []


# ---------------------------------------------------------------- adopt


async def test_what_a_former_holder_left_in_flight_is_told_and_adopted(post: Post) -> None:
    await post.submit(draft("m"), draft("n"), draft("b", "b"))
    await post.take(until=10)
    await post.claim()
    lease = await post.take("successor", at=20)
    assert (lease.token, lease.orphans) == (2, True)
    assert ids(await post.claim(20)) == []
    adopted = await post.store.adopt(lease, 10)
    assert sorted(claim.id for claim in adopted) == ["b", "m"]
    assert {claim.token for claim in adopted} == {2}
    assert [await post.state(id) for id in "mnb"] == [State.SENDING, State.WAITING, State.SENDING]
    for claim in adopted:
        assert await post.retry(claim, at=21, crashes=claim.crashes + 1, attempt=None)
    claims = (await post.claim(22)).claims
    assert sorted((claim.id, claim.crashes) for claim in claims) == [("b", 1), ("m", 1)]


async def test_adopt_takes_no_more_than_limit_and_each_once(post: Post) -> None:
    await post.submit(*(draft(str(n), str(n)) for n in range(5)))
    await post.claim()
    await post.leave()
    lease = await post.take("successor", at=1)
    batches = [await post.store.adopt(lease, 2) for _ in range(4)]
    assert [len(batch) for batch in batches] == [2, 2, 1, 0]
    assert len({claim.id for batch in batches for claim in batch}) == 5


async def test_one_does_not_adopt_ones_own(post: Post) -> None:
    await post.submit(draft("m"))
    await post.claim()
    lease = await post.take()
    assert not lease.orphans
    assert await post.store.adopt(lease, 10) == []


async def test_orphans_are_told_until_all_are_adopted(post: Post) -> None:
    await post.submit(draft("a", "a"), draft("b", "b"))
    await post.claim()
    await post.leave()
    lease = await post.take("successor", at=1)
    await post.store.adopt(lease, 1)
    assert (await post.take("successor", at=2)).orphans
    await post.store.adopt(lease, 1)
    assert not (await post.take("successor", at=3)).orphans


async def test_adopt_keeps_those_apart_that_a_crash_had_hit_before(post: Post) -> None:
    await post.submit(draft("old"))
    await post.take(until=10)
    claim = await post.one()
    await post.take("second", at=20, until=30)
    [claim] = await post.store.adopt(post.lease, 10)
    await post.retry(claim, at=20, crashes=1)
    await post.submit(draft("new", "b"), at=20)
    await post.claim(20)
    lease = await post.take("third", at=40)
    assert [c.id for c in await post.store.adopt(lease, 10)] == ["new"]
    assert await post.store.adopt(lease, 10) == []
    assert [(c.id, c.crashes) for c in await post.store.adopt(lease, 10, suspects=True)] == [("old", 1)]


async def test_who_was_alone_in_flight_is_told_at_the_change_of_holder(post: Post) -> None:
    await post.submit(draft("m"), draft("n", "b"))
    await post.take(until=10)
    await post.claim(limit=1)
    assert (await post.take("second", at=20, until=30)).lone == "m"
    assert (await post.take("second", at=21, until=30)).lone is None  # told once
    await post.claim(21)
    assert (await post.take("third", at=40, until=50)).lone == "n"  # of the newest token; m is of an older one
    await post.store.adopt(post.lease, 10)
    assert (await post.take("fourth", at=60)).lone is None  # two of the same token


async def test_an_attempt_left_in_doubt_is_recorded_before_the_next(post: Post) -> None:
    await post.submit(draft("m"))
    claim = replace(await post.one(), attempts=1)
    settlement = Settlement(claim, State.DELIVERED, call(2, number=2), before=call(1, "unknown"))
    assert await post.store.settle([settlement], T + 3) == [True]
    [record] = (await post.store.find(Query(with_attempts=True))).items
    assert [(a.number, a.outcome) for a in record.attempts] == [(1, "unknown"), (2, "delivered")]


async def test_an_adopted_claim_tells_of_a_suppression(post: Post) -> None:
    await post.submit(draft("m"))
    await post.claim()
    await post.store.suppress(BOT, "a", "blocked", T)
    await post.leave()
    lease = await post.take("successor", at=1)
    [claim] = await post.store.adopt(lease, 10)
    assert claim.suppressed == "blocked"


# ---------------------------------------------------------------- recent attempts


async def test_a_new_holder_is_told_of_the_last_minutes_attempts(post: Post) -> None:
    await post.submit(draft("x", "a"), draft("y", "b"), draft("z", "c"))
    x, y, z = (await post.claim()).claims
    await post.settle(y, attempt=call(50))
    await post.settle(x, attempt=call(45), at=51)
    await post.settle(z, attempt=call(-20), at=51)
    await post.leave(51)
    lease = await post.take("successor", at=60)
    assert lease.recent == (("a", T + 45), ("b", T + 50))


async def test_a_renewal_is_not_told_of_them_again(post: Post) -> None:
    await post.submit(draft("m"))
    await post.settle(await post.one(), attempt=call(1), at=1)
    assert (await post.take(at=2)).recent == ()


async def test_recent_attempts_are_of_the_bot_and_by_todays_name_of_the_chat(post: Post) -> None:
    await post.submit(draft("m", "old"), draft("n", bot=2))
    await post.settle(await post.one(), moved_to="new", attempt=call(1), at=1)
    [other] = await post.store.lease("courier", [2], T + 99, T)
    [claim] = (await post.store.claim(other, T, 1)).claims
    await post.settle(claim, attempt=call(2), at=2)
    await post.leave(2)
    assert (await post.take("successor", at=3)).recent == (("new", T + 1),)


async def test_a_pause_that_only_extends_leaves_a_longer_one(post: Post) -> None:
    await post.store.steer(BOT, until=T + 60, reason="by hand")
    await post.store.steer(BOT, until=T + 5, reason="429", extend=True)
    lease = await post.take()
    assert (lease.paused_until, lease.paused_why) == (T + 60, "by hand")
    await post.store.steer(BOT, until=T + 90, reason="429", extend=True)
    assert (await post.take()).paused_until == T + 90
    await post.store.steer(BOT, until=0)
    assert (await post.take()).paused_until == 0
