"""What `alter`, `steer` and `suppress` promise."""

from __future__ import annotations

import pytest

from kurir.core.message import State
from kurir.ports import Cancel, Change, Expire, Purge, Query, Requeue

from .steps import BOT, FOREVER, Post, T, call, draft, edit, ids


async def prepare(post: Post) -> None:
    """One message in each state, each in a chat of its own, named after the state."""
    await post.submit(*(draft(state.value, state.value) for state in State))
    await post.store.alter(Query(ids=("cancelled",)), Cancel(), T)
    await post.store.alter(Query(ids=("expired",)), Expire(), T)
    claims = {claim.id: claim for claim in (await post.claim()).claims}
    await post.settle(claims["delivered"])
    await post.settle(claims["dead"], State.DEAD, reason="refused", tries=4, doubts=2, crashes=1)
    await post.retry(claims["waiting"])


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        (Cancel(), ["waiting"]),
        (Expire(), ["waiting"]),
        (Requeue(), ["cancelled", "dead", "expired"]),
        (Purge(), ["cancelled", "dead", "delivered", "expired"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
async def test_a_change_applies_only_where_the_state_allows_it(post: Post, change: Change, allowed: list[str]) -> None:
    await prepare(post)
    assert sorted(await post.store.alter(Query(), change, T + 1)) == allowed
    untouched = [state.value for state in State if state.value not in allowed]
    assert [await post.state(id) for id in untouched] == untouched


async def test_at_most_limit_and_none_when_done(post: Post) -> None:
    await post.submit(*(draft(str(n)) for n in range(5)))
    batches = [await post.store.alter(Query(limit=2), Cancel(), T) for _ in range(4)]
    assert [len(batch) for batch in batches] == [2, 2, 1, 0]


async def test_only_what_matches(post: Post) -> None:
    await post.submit(draft("1"), draft("2", "b", metadata={"k": "v"}), draft("3", "c"))
    assert await post.store.alter(Query(metadata=(("k", "v"),)), Cancel(), T) == ["2"]
    assert await post.store.alter(Query(states=(State.DEAD,)), Cancel(), T) == []
    assert await post.drain() == ["1", "3"]


async def test_cancelled_tells_when_and_why(post: Post) -> None:
    await post.submit(draft("m"))
    await post.store.alter(Query(), Cancel("by ann"), T + 4)
    record = await post.record("m")
    assert (record.state, record.reason, record.ended_at) == (State.CANCELLED, "by ann", T + 4)
    assert ids(await post.claim(5)) == []


async def test_expired_messages_are_found_and_ended(post: Post) -> None:
    await post.submit(draft("1", expires_at=T + 1), draft("2", expires_at=T + 9), draft("3"))
    query = Query(states=(State.WAITING,), expired_by=T + 5)
    assert await post.store.alter(query, Expire(), T + 5) == ["1"]
    assert (await post.record("1")).state is State.EXPIRED
    assert await post.drain(6) == ["2", "3"]


async def test_what_is_in_flight_is_neither_cancelled_nor_expired(post: Post) -> None:
    await post.submit(draft("m"))
    claim = await post.one()
    assert await post.store.alter(Query(), Cancel(), T) == []
    assert await post.store.alter(Query(), Expire(), T) == []
    assert await post.settle(claim)


# ---------------------------------------------------------------- requeue


async def test_a_requeued_message_starts_anew_and_keeps_its_attempts(post: Post) -> None:
    await post.submit(draft("m", expires_at=T + 5))
    await post.settle(await post.one(), State.DEAD, 1, reason="refused", tries=4, doubts=2, crashes=1)
    assert await post.store.alter(Query(), Requeue(), T + 10) == ["m"]
    record = await post.record("m")
    assert (record.state, record.reason, record.ended_at) == (State.WAITING, None, None)
    assert (record.due_at, record.expires_at) == (0.0, None)
    assert (record.tries, record.doubts, record.crashes, len(record.attempts)) == (0, 0, 0, 1)
    claim = await post.one(10)
    assert (claim.tries, claim.doubts, claim.crashes, claim.attempts, claim.expires_at) == (0, 0, 0, 1, None)


async def test_a_message_that_ended_without_a_call_shows_the_attempts_made_since_its_requeue(post: Post) -> None:
    await post.submit(draft("m"))
    await post.settle(await post.one(), State.EXPIRED, attempt=None)
    await post.store.alter(Query(), Requeue(), T)
    first, second = call(1, "failed"), call(2, number=2)
    await post.retry(await post.one(at=1), at=1, attempt=first)
    await post.settle(await post.one(at=2), at=2, attempt=second)
    assert (await post.record("m")).attempts == (first, second)


async def test_requeued_messages_go_to_the_end_of_their_lane_in_their_old_order(post: Post) -> None:
    await post.submit(*(draft(str(n)) for n in range(3)))
    await post.store.alter(Query(), Cancel(), T)
    await post.submit(draft("waiting"))
    await post.store.alter(Query(), Requeue(), T)
    await post.submit(draft("last"))
    assert await post.drain() == ["waiting", "0", "1", "2", "last"]


async def test_requeue_batches_keep_the_order_too(post: Post) -> None:
    await post.submit(*(draft(str(n)) for n in range(5)))
    await post.store.alter(Query(), Cancel(), T)
    while await post.store.alter(Query(limit=2), Requeue(), T):
        pass
    assert await post.drain() == ["0", "1", "2", "3", "4"]


async def test_requeue_lifts_the_suppression_of_the_chat(post: Post) -> None:
    await post.store.suppress(BOT, "a", "blocked", T)
    await post.submit(draft("m"))
    await post.store.alter(Query(ids=("m",)), Requeue(), T)
    claim = await post.one()
    assert (claim.id, claim.suppressed) == ("m", None)
    [answer] = await post.submit(draft("n"))
    assert answer.state is State.WAITING


async def test_requeue_keeps_the_key(post: Post) -> None:
    await post.submit(draft("m", key="k", digest=b"1"))
    await post.store.alter(Query(), Cancel(), T)
    await post.store.alter(Query(), Requeue(), T)
    [answer] = await post.submit(draft("n", key="k", digest=b"1"))
    assert (answer.id, answer.duplicate) == ("m", True)


async def test_requeue_follows_a_chat_that_moved(post: Post) -> None:
    await post.submit(draft("m", "old"), draft("n", "old"))
    await post.settle(await post.one(), State.DEAD)
    await post.settle(await post.one(), moved_to="new")
    await post.store.alter(Query(ids=("m",)), Requeue(), T)
    assert (await post.one()).chat == "new"


async def test_a_requeued_superseded_message_forgets_what_superseded_it(post: Post) -> None:
    await post.submit(edit("e1"), edit("e2"))
    await post.store.alter(Query(), Requeue(), T)
    assert (await post.record("e1")).superseded_by is None
    assert await post.drain() == ["e2", "e1"]


async def test_purged_messages_are_gone(post: Post) -> None:
    await post.submit(draft("m", metadata={"k": "v"}))
    await post.drain()
    assert await post.store.alter(Query(), Purge(), T) == ["m"]
    assert await post.found() == []
    assert await post.found(metadata=(("k", "v"),)) == []


# ---------------------------------------------------------------- steer


async def test_a_paused_chat_sends_nothing_until_resumed(post: Post) -> None:
    await post.submit(draft("a"), draft("b", "b"))
    await post.store.steer(BOT, chat="a", until=FOREVER)
    assert ids(await post.claim(1e5)) == ["b"]
    await post.store.steer(BOT, chat="a", until=0)
    assert ids(await post.claim(1e5)) == ["a"]


async def test_a_chat_may_be_paused_before_anything_is_sent_to_it(post: Post) -> None:
    await post.store.steer(BOT, chat="a", until=T + 10)
    await post.submit(draft("m"))
    assert ids(await post.claim(9)) == []
    assert ids(await post.claim(10)) == ["m"]


async def test_a_pause_of_a_chat_concerns_one_bot(post: Post) -> None:
    await post.store.steer(2, chat="a", until=FOREVER)
    await post.submit(draft("m"))
    assert ids(await post.claim()) == ["m"]


async def test_a_pause_of_a_chat_follows_its_move(post: Post) -> None:
    await post.submit(draft("m", "old"), draft("n", "old"))
    await post.settle(await post.one(), moved_to="new")
    await post.store.steer(BOT, chat="old", until=T + 10)
    assert ids(await post.claim(9)) == []


async def test_the_pause_of_a_bot_shows_in_the_stats(post: Post) -> None:
    await post.store.steer(BOT, until=T + 10, reason="flood")
    stats = await post.stats()
    assert (stats.paused_until, stats.paused_why) == (T + 10, "flood")
    await post.store.steer(BOT, until=0)
    stats = await post.stats()
    assert (stats.paused_until, stats.paused_why) == (0.0, None)


# ---------------------------------------------------------------- suppress


async def test_suppressing_a_chat_ends_what_waits_for_it(post: Post) -> None:
    await post.submit(draft("1"), draft("later", due=50), draft("b", "b"))
    await post.store.suppress(BOT, "a", "opted out", T + 3)
    for id in ("1", "later"):
        record = await post.record(id)
        assert (record.state, record.reason, record.ended_at) == (State.DEAD, "suppressed: opted out", T + 3)
    assert await post.drain(60) == ["b"]


async def test_suppressing_a_chat_leaves_what_is_in_flight(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    claim = await post.one()
    await post.store.suppress(BOT, "a", "opted out", T)
    assert [await post.state("1"), await post.state("2")] == [State.SENDING, State.DEAD]
    assert await post.settle(claim)


async def test_a_suppression_that_is_lifted_lets_new_messages_pass(post: Post) -> None:
    await post.store.suppress(BOT, "a", "opted out", T)
    await post.store.suppress(BOT, "a", None, T)
    await post.submit(draft("m"))
    assert await post.drain() == ["m"]


async def test_lifting_what_is_not_suppressed_is_nothing(post: Post) -> None:
    await post.store.suppress(BOT, "a", None, T)
    await post.submit(draft("m"))
    assert (await post.one()).suppressed is None


async def test_by_order_numbers(post: Post) -> None:
    _, two, three = await post.submit(draft("1"), draft("2"), draft("3"))
    assert await post.store.alter(Query(seqs=(three.seq, two.seq)), Cancel(), T) == ["2", "3"]
    assert await post.found(states=(State.WAITING,)) == ["1"]
