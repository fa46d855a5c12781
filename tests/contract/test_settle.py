"""What `settle` promises: facts, fencing, suppression, migration."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from kurir.core.message import Attempt, FileRef, State
from kurir.ports import Settlement

from .steps import BOT, Post, T, call, draft, ids

PHOTO = FileRef("photo", "ab" * 32, 1234, "cat.jpg", "image/jpeg", "photo")


async def test_a_delivered_message_shows_its_result_attempt_and_end(post: Post) -> None:
    await post.submit(draft("m"))
    attempt = Attempt(1, T + 1, 0.125, "delivered", 200, None)
    assert await post.settle(await post.one(), at=2, attempt=attempt, result=b'{"message_id":7}', tries=1)
    record = await post.record("m")
    assert (record.state, record.ended_at, record.result) == (State.DELIVERED, T + 2, b'{"message_id":7}')
    assert (record.attempts, record.tries, record.reason) == ((attempt,), 1, None)


async def test_a_dead_message_shows_its_reason(post: Post) -> None:
    await post.submit(draft("m"))
    await post.settle(await post.one(), State.DEAD, 3, reason="can't parse entities", tries=2, doubts=1, crashes=1)
    record = await post.record("m")
    assert (record.state, record.ended_at, record.reason) == (State.DEAD, T + 3, "can't parse entities")
    assert (record.tries, record.doubts, record.crashes) == (2, 1, 1)


async def test_a_message_that_waits_again_shows_why_and_until_when(post: Post) -> None:
    await post.submit(draft("m"))
    await post.retry(await post.one(), at=3, reason="Bad Gateway", due=20, tries=1)
    record = await post.record("m")
    assert (record.state, record.reason, record.due_at) == (State.WAITING, "Bad Gateway", T + 20)
    assert (record.tries, record.ended_at) == (1, None)


async def test_attempts_are_kept_in_order(post: Post) -> None:
    await post.submit(draft("m"))
    given = []
    for number, outcome in enumerate(("failed", "throttled", "unknown", "delivered"), 1):
        attempt = Attempt(number, T + number, 0.5, outcome, None if outcome == "unknown" else 200, f"why {number}")
        state = State.DELIVERED if outcome == "delivered" else State.WAITING
        await post.settle(await post.one(number), state, number, attempt=attempt)
        given.append(attempt)
    assert (await post.record("m")).attempts == tuple(given)


async def test_a_claim_handed_back_keeps_its_counters(post: Post) -> None:
    await post.submit(draft("m"))
    await post.retry(await post.one(), tries=1, doubts=2, crashes=3)
    await post.retry(await post.one(), attempt=None)
    claim = await post.one()
    assert (claim.tries, claim.doubts, claim.crashes, claim.attempts) == (1, 2, 3, 1)


async def test_a_claim_handed_back_takes_the_counters_given(post: Post) -> None:
    await post.submit(draft("m"))
    claim = await post.one()
    await post.retry(claim, attempt=None, tries=claim.tries, crashes=claim.crashes + 1)
    assert (await post.record("m")).crashes == 1


async def test_answers_come_in_the_order_of_the_settlements(post: Post) -> None:
    await post.submit(draft("a", "a"), draft("b", "b"), draft("c", "c"))
    a, b, c = (await post.claim()).claims
    await post.settle(b)
    settled = await post.store.settle([Settlement(x, State.DELIVERED) for x in (c, b, a)], T)
    assert settled == [True, False, True]


async def test_a_settle_frees_the_lane(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    await post.settle(await post.one())
    assert ids(await post.claim()) == ["2"]


# ---------------------------------------------------------------- fencing


async def test_a_second_settle_of_one_claim_changes_nothing_and_is_counted(post: Post) -> None:
    await post.submit(draft("m"))
    claim = await post.one()
    assert await post.settle(claim)
    assert not await post.settle(claim, State.DEAD, reason="late")
    record = await post.record("m")
    assert (record.state, record.reason, len(record.attempts)) == (State.DELIVERED, None, 1)
    assert (await post.stats()).fenced == 1


async def test_a_claim_twice_in_a_batch_is_settled_once(post: Post) -> None:
    await post.submit(draft("m"))
    claim = await post.one()
    settlements = [Settlement(claim, State.DELIVERED), Settlement(claim, State.DEAD)]
    assert await post.store.settle(settlements, T) == [True, False]
    assert await post.state("m") is State.DELIVERED


async def test_a_settle_under_a_stale_token_changes_nothing_and_is_counted(post: Post) -> None:
    await post.submit(draft("m"))
    claim = await post.one()
    await post.leave()
    await post.take("successor", at=1)
    [adopted] = await post.store.adopt(post.lease, 10)
    follow_up = draft("follow-up", "b")
    late = Settlement(
        claim,
        State.DEAD,
        call(2),
        "late",
        suppress="late",
        moved_to="c",
        chat_at=T + 99,
        follow_ups=(follow_up,),
    )
    assert await post.store.settle([late], T) == [False]
    assert await post.found() == ["m"]
    assert await post.state("m") is State.SENDING
    assert (await post.stats()).fenced == 1
    assert await post.settle(adopted, at=2)
    await post.submit(draft("n"), at=2)
    assert ids(await post.claim(2)) == ["n"]


async def test_the_follow_ups_of_a_stale_settle_cannot_conflict(post: Post) -> None:
    await post.submit(draft("m"), draft("known", "b", key="k", digest=b"1"))
    [claim, _] = (await post.claim()).claims
    await post.settle(claim)
    assert not await post.settle(claim, follow_ups=(draft("n", key="k", digest=b"2"),))
    assert await post.found(oldest_first=True) == ["m", "known"]


async def test_a_settle_of_what_is_claimed_anew_needs_the_new_claim(post: Post) -> None:
    await post.submit(draft("m"))
    stale = await post.one()
    await post.retry(stale)
    await post.leave()
    await post.take("successor", at=1)
    claim = await post.one(1)
    assert not await post.settle(stale, at=2)
    assert await post.settle(claim, at=2)


async def test_a_settle_in_time_counts_though_the_lease_ran_out(post: Post) -> None:
    await post.take(until=10)
    await post.submit(draft("m"))
    claim = await post.one(5)
    assert await post.settle(claim, at=20)


# ---------------------------------------------------------------- chat_at


async def test_chat_at_never_shortens_a_pause(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    claim = await post.one()
    await post.store.steer(BOT, chat="a", until=T + 50)
    await post.settle(claim, chat=10)
    assert ids(await post.claim(49)) == []
    assert ids(await post.claim(50)) == ["2"]


# ---------------------------------------------------------------- suppress


async def test_suppress_ends_what_waits_in_the_lane_and_the_claim_as_told(post: Post) -> None:
    await post.submit(draft("m"), draft("n"), draft("later", due=50), draft("other", "b"))
    [claim, _] = (await post.claim()).claims
    await post.settle(claim, State.DEAD, 4, reason="Forbidden: blocked", suppress="blocked")
    m, n, later = [await post.record(id) for id in ("m", "n", "later")]
    assert (m.state, m.reason) == (State.DEAD, "Forbidden: blocked")
    assert (n.state, n.reason, n.ended_at) == (State.DEAD, "suppressed: blocked", T + 4)
    assert (later.state, later.reason) == (State.DEAD, "suppressed: blocked")
    assert await post.state("other") is State.SENDING
    [answer] = await post.submit(draft("next"))
    assert answer.state is State.DEAD


# ---------------------------------------------------------------- moved_to


async def test_a_moved_chat_takes_its_lane_along(post: Post) -> None:
    await post.submit(draft("m", "old"), draft("n", "old"))
    await post.retry(await post.one(), moved_to="new")
    claim = await post.one()
    assert (claim.id, claim.chat) == ("m", "new")
    await post.settle(claim)
    claim = await post.one()
    assert (claim.id, claim.chat) == ("n", "new")
    assert (await post.record("n")).chat == "new"


async def test_a_move_into_an_existing_lane_merges_in_order_of_acceptance(post: Post) -> None:
    for n in range(3):
        await post.submit(draft(f"old{n}", "old"), draft(f"new{n}", "new"))
    [old, new] = (await post.claim()).claims
    await post.retry(old, moved_to="new")
    assert ids(await post.claim()) == []
    await post.retry(new)
    assert await post.drain(1) == ["old0", "new0", "old1", "new1", "old2", "new2"]
    assert (await post.stats()).lanes == 0


@pytest.mark.parametrize(("old_until", "new_until"), [(20, 40), (40, 20)])
async def test_merged_lanes_are_held_up_as_long_as_either(post: Post, old_until: int, new_until: int) -> None:
    await post.submit(draft("m", "old"), draft("n", "new"))
    [old, new] = (await post.claim()).claims
    await post.settle(new, chat=new_until)
    await post.retry(old, moved_to="new", chat=old_until)
    assert ids(await post.claim(39)) == []
    assert ids(await post.claim(40)) == ["m"]


async def test_scheduled_messages_move_too(post: Post) -> None:
    await post.submit(draft("m", "old"), draft("scheduled", "old", due=10), draft("n", "new"))
    [old, new] = (await post.claim()).claims
    await post.retry(old, moved_to="new")
    await post.settle(new)
    assert await post.drain(1) == ["m"]
    assert await post.drain(10) == ["scheduled"]


async def test_aliases_are_followed_through_several_moves(post: Post) -> None:
    await post.submit(draft("m", "first"))
    await post.retry(await post.one(), moved_to="second")
    await post.retry(await post.one(), moved_to="third")
    await post.submit(draft("n", "first"), draft("o", "second"))
    assert await post.drain(1) == ["m", "n", "o"]
    assert {(await post.record(id)).chat for id in "mno"} == {"third"}


async def test_a_move_to_a_former_name_changes_nothing(post: Post) -> None:
    await post.submit(draft("m", "first"))
    await post.retry(await post.one(), moved_to="second")
    await post.retry(await post.one(), moved_to="first")
    claim = await post.one()
    assert (claim.id, claim.chat) == ("m", "second")
    [answer] = await asyncio.wait_for(post.submit(draft("n", "first")), 5)
    assert answer.state is State.WAITING


async def test_a_suppression_goes_along_with_its_chat(post: Post) -> None:
    await post.submit(draft("m", "old"))
    claim = await post.one()
    await post.store.suppress(BOT, "old", "kicked", T)
    await post.retry(claim, moved_to="new")
    answers = await post.submit(draft("n", "old"), draft("o", "new"))
    assert [answer.state for answer in answers] == [State.DEAD, State.DEAD]


async def test_suppressing_a_former_name_suppresses_the_chat(post: Post) -> None:
    await post.submit(draft("m", "old"))
    await post.settle(await post.one(), moved_to="new")
    await post.store.suppress(BOT, "old", "kicked", T)
    [answer] = await post.submit(draft("n", "new"))
    assert answer.state is State.DEAD


async def test_a_final_message_may_move_its_lane_too(post: Post) -> None:
    await post.submit(draft("m", "old"), draft("n", "old"))
    await post.settle(await post.one(), moved_to="new")
    assert (await post.one()).chat == "new"


# ---------------------------------------------------------------- file ids, follow-ups


async def test_a_learned_file_id_comes_with_later_claims_of_the_bot(post: Post) -> None:
    await post.submit(draft("m", files=(PHOTO,)))
    await post.settle(await post.one(), file_ids=((PHOTO.sha256, "photo", "AgAC"),))
    await post.submit(draft("n", files=(PHOTO,)), draft("other", "b", files=(replace(PHOTO, sha256="cd" * 32),)))
    [n, other] = (await post.claim()).claims
    assert n.file_ids[PHOTO.sha256, "photo"] == "AgAC"
    assert dict(other.file_ids) == {}


async def test_a_file_id_belongs_to_one_bot(post: Post) -> None:
    await post.submit(draft("m", files=(PHOTO,)))
    await post.settle(await post.one(), file_ids=((PHOTO.sha256, "photo", "AgAC"),))
    await post.submit(draft("n", bot=2, files=(PHOTO,)))
    [lease] = await post.store.lease("courier", [2], T + 99, T)
    [claim] = (await post.store.claim(lease, T, 1)).claims
    assert dict(claim.file_ids) == {}


async def test_a_newer_file_id_replaces_the_older(post: Post) -> None:
    for file_id in ("old", "new"):
        await post.submit(draft(file_id, files=(PHOTO,)))
        await post.settle(await post.one(), file_ids=((PHOTO.sha256, "photo", file_id),))
    await post.submit(draft("m", files=(PHOTO,)))
    assert (await post.one()).file_ids[PHOTO.sha256, "photo"] == "new"


async def test_follow_ups_are_accepted_with_the_settle(post: Post) -> None:
    await post.submit(draft("m"))
    follow_ups = (draft("delete", due=60), draft("note", "b"))
    await post.settle(await post.one(), at=1, follow_ups=follow_ups)
    assert ids(await post.claim(1)) == ["note"]
    assert ids(await post.claim(60)) == ["delete"]


async def test_a_follow_up_with_a_known_key_is_not_doubled(post: Post) -> None:
    await post.submit(draft("m"), draft("known", "b", key="k", digest=b"1"))
    [claim, _] = (await post.claim()).claims
    assert await post.settle(claim, follow_ups=(draft("again", "b", key="k", digest=b"1"),))
    assert await post.found(oldest_first=True) == ["m", "known"]
