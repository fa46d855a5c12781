"""`stats` is always what a recount would say."""

from __future__ import annotations

from collections import Counter

from kurir.core.message import State
from kurir.ports import Cancel, Day, Expire, Purge, Query, Requeue, Store

from .steps import BOT, Post, T, draft, edit

DAY = 86400.0


async def recount(post: Post) -> dict[str, int]:
    """The counts of bot 1 by looking at every record."""
    records = (await post.store.find(Query(bot=BOT, limit=1000))).items
    states = Counter(record.state for record in records)
    waiting = [record for record in records if not record.state.final]
    return {
        "waiting": len(waiting),
        "sending": states[State.SENDING],
        "delivered": states[State.DELIVERED],
        "dead": states[State.DEAD],
        "cancelled": states[State.CANCELLED],
        "expired": states[State.EXPIRED],
        "lanes": len({record.chat for record in waiting}),
    }


async def check(post: Post) -> None:
    stats, counted = await post.stats(), await recount(post)
    assert {name: getattr(stats, name) for name in counted} == counted


async def test_counts_equal_a_recount_after_every_verb(post: Post) -> None:
    await post.submit(*(draft(f"{chat}{n}", chat) for chat in "abcdef" for n in range(4)), edit("edit"), edit("edited"))
    await check(post)
    a, b, c, d, _, f = (await post.claim()).claims
    await check(post)
    await post.settle(a)
    await post.settle(b, State.DEAD, suppress="blocked")
    await post.retry(c, moved_to="d")
    await check(post)
    await post.settle(d, follow_ups=(draft("follow-up", "g"),))
    await check(post)
    await post.submit(draft("suppressed", "b"), draft("forced", "b", force=True))
    await check(post)
    await post.store.suppress(BOT, "e", "opted out", T)
    await check(post)
    await post.store.alter(Query(chat="a", limit=2), Cancel(), T)
    await post.store.alter(Query(chat="d", limit=2), Expire(), T)
    await check(post)
    await post.store.alter(Query(states=(State.DEAD, State.CANCELLED), limit=3), Requeue(), T)
    await check(post)
    await post.store.alter(Query(states=(State.EXPIRED,)), Purge(), T)
    await check(post)
    await post.settle(f, State.DEAD)
    await post.store.prune(T + 1, T + 1, limit=2)
    await check(post)


async def test_bots_are_counted_apart_and_in_order_of_their_ids(store: Store) -> None:
    await store.submit([draft("1", bot=7), draft("2", bot=3), draft("3", bot=7)], T)
    assert [(bot.bot, bot.waiting) for bot in (await store.stats()).bots] == [(3, 1), (7, 2)]
    assert [(bot.bot, bot.waiting) for bot in (await store.stats(7)).bots] == [(7, 2)]
    assert (await store.stats(9)).bots == ()


async def test_days_count_what_ended_by_the_utc_day_of_its_end(post: Post) -> None:
    await post.submit(*(draft(str(n), str(n)) for n in range(4)), draft("cancelled", "c"))
    await post.store.alter(Query(ids=("cancelled",)), Cancel(), T)
    one, two, three, four = (await post.claim()).claims
    before_midnight = 1_700_006_399.0 - T
    await post.settle(one, at=before_midnight)
    await post.settle(two, State.DEAD, at=before_midnight)
    await post.settle(three, at=before_midnight + 1)
    await post.settle(four, State.EXPIRED, at=before_midnight + 1)
    assert (await post.store.stats()).days == (
        Day(BOT, "2023-11-14", delivered=1, dead=1, cancelled=1),
        Day(BOT, "2023-11-15", delivered=1, expired=1),
    )


async def test_days_remember_what_was_pruned_or_requeued(post: Post) -> None:
    await post.submit(draft("1"), draft("2", "b"))
    one, two = (await post.claim()).claims
    await post.settle(one)
    await post.settle(two, State.DEAD)
    await post.store.alter(Query(states=(State.DEAD,)), Requeue(), T)
    await post.store.prune(T + 1, T + 1)
    assert (await post.store.stats()).days == (Day(BOT, "2023-11-14", delivered=1, dead=1),)


async def test_days_are_the_last_31_oldest_first(post: Post) -> None:
    for day in range(33):
        await post.submit(draft(str(day)), at=day * DAY)
        await post.take(at=day * DAY, until=40 * DAY)
        await post.drain(day * DAY)
    days = [day.day for day in (await post.store.stats(BOT)).days]
    assert (len(days), days[0], days[-1]) == (31, "2023-11-16", "2023-12-16")
    assert days == sorted(days)
    assert [day.day for day in (await post.store.stats(BOT, 2)).days] == days[-2:]
    assert len((await post.store.stats(BOT, 400)).days) == 33
    assert (await post.store.stats(BOT, 0)).days == ()


async def test_oldest_due_is_since_when_the_longest_ready_lane_could_be_sending(post: Post) -> None:
    assert (await post.stats()).oldest_due is None
    await post.submit(draft("b", "b"), at=3)
    await post.submit(draft("a", "a"), at=1)
    await post.submit(draft("a2", "a"), at=2)
    assert (await post.stats()).oldest_due == T + 1
    claim = (await post.claim(4, limit=1)).claims[0]
    assert (await post.stats()).oldest_due == T + 3
    await post.settle(claim, at=5)
    assert (await post.stats()).oldest_due == T + 3
    await post.claim(6)
    assert (await post.stats()).oldest_due is None
