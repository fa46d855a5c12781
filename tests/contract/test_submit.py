"""What `submit` promises."""

from __future__ import annotations

import asyncio

import pytest

from kurir.core.errors import KeyConflict
from kurir.core.message import Accepted, FileRef, OnUnknown, Options, Ordering, Priority, State
from kurir.ports import KEY_LIFE, Cancel, Purge, Query, Settlement, Store

from .steps import BOT, Post, T, draft, ids

PHOTO = FileRef("photo", "ab" * 32, 1234, "cat.jpg", "image/jpeg", "photo")


async def kept(post: Post, id: str, state: State = State.WAITING, *, duplicate: bool = False) -> Accepted:
    """The answer that tells of a message what its record tells."""
    return Accepted(id, state, duplicate, (await post.record(id)).seq)


async def test_answers_come_in_the_order_of_the_drafts(post: Post) -> None:
    answers = await post.submit(*(draft(f"m{n}", chat="ba"[n % 2]) for n in range(6)))
    assert answers == [await kept(post, f"m{n}") for n in range(6)]


async def test_no_drafts_are_no_answers(post: Post) -> None:
    assert await post.submit() == []


async def test_everything_of_a_draft_is_kept(post: Post) -> None:
    options = Options(
        max_attempts=3,
        backoff=(1.0, 2.5),
        timeout=9.0,
        delete_after=60.0,
        ordering=Ordering.STRICT,
        on_unknown=OnUnknown.HOLD,
    )
    given = draft(
        "m",
        "-100",
        params='{"text":"héllo 🙂"}'.encode(),
        priority=Priority.HIGH,
        files=(PHOTO,),
        due=50,
        expires_at=T + 99,
        key="k",
        digest=b"\x00\xff",
        metadata={"order": "7", "user": "ann"},
        options=options,
    )
    await post.submit(given)
    record = await post.record("m")
    kept = {name: getattr(record, name) for name in given.__dataclass_fields__ if hasattr(record, name)}
    assert kept == {name: getattr(given, name) for name in kept}
    assert (record.state, record.ended_at, record.reason, record.attempts) == (State.WAITING, None, None, ())


async def test_a_claim_carries_what_was_submitted(post: Post) -> None:
    options = Options(max_attempts=3)
    given = draft("m", "-100", files=(PHOTO,), expires_at=T + 99, options=options, priority=Priority.HIGH)
    await post.submit(given)
    claim = await post.one(1)
    for name in (
        "id",
        "bot",
        "chat",
        "method",
        "params",
        "priority",
        "accepted_at",
        "files",
        "expires_at",
        "options",
    ):
        assert getattr(claim, name) == getattr(given, name), name
    assert (claim.tries, claim.attempts, claim.doubts, claim.crashes) == (0, 0, 0, 0)
    assert (claim.suppressed, dict(claim.file_ids)) == (None, {})


async def test_seq_starts_at_1_and_grows_with_acceptance(post: Post) -> None:
    for n in range(3):
        await post.submit(draft(f"x{n}"), draft(f"y{n}", "b"))
    records = (await post.store.find(Query(oldest_first=True))).items
    assert [r.id for r in records] == ["x0", "y0", "x1", "y1", "x2", "y2"]
    seqs = [r.seq for r in records]
    assert seqs[0] == 1
    assert seqs == sorted(set(seqs))


async def test_the_answer_tells_the_order_number_of_the_record(post: Post) -> None:
    await post.submit(draft("before"))
    drafts = [draft("x"), draft("y", "b", expires_at=T + 9), draft("z", metadata={"order": "7"}), draft("v", bot=2)]
    for answer in await post.submit(*drafts):
        assert answer.seq == (await post.record(answer.id)).seq


async def test_submits_side_by_side_are_each_told_their_own_order_numbers(post: Post) -> None:
    batches = [[draft(f"{n}-{i}", str(i)) for i in range(3)] for n in range(50)]
    for answers in await asyncio.gather(*(post.submit(*batch) for batch in batches)):
        for answer in answers:
            assert answer == await kept(post, answer.id)


async def test_a_past_due_at_means_now(post: Post) -> None:
    await post.submit(draft("m", due=-5))
    assert ids(await post.claim(0)) == ["m"]


# ---------------------------------------------------------------- keys


async def test_a_known_key_with_the_same_body_answers_the_first_message(post: Post) -> None:
    await post.submit(draft("first", key="k", digest=b"1"))
    [again] = await post.submit(draft("again", key="k", digest=b"1"))
    assert again == await kept(post, "first", duplicate=True)
    assert await post.found() == ["first"]


async def test_a_duplicate_tells_the_state_of_the_first_message(post: Post) -> None:
    await post.submit(draft("first", key="k", digest=b"1"))
    claim = await post.one()
    assert await post.submit(draft("2", key="k", digest=b"1")) == [
        await kept(post, "first", State.SENDING, duplicate=True)
    ]
    await post.settle(claim)
    assert await post.submit(draft("3", key="k", digest=b"1")) == [
        await kept(post, "first", State.DELIVERED, duplicate=True)
    ]


async def test_a_duplicate_tells_the_order_number_of_the_first_message(post: Post) -> None:
    [first] = await post.submit(draft("first", key="k", digest=b"1"))
    await post.submit(draft("between"))
    again, new, twice = await post.submit(
        draft("2", key="k", digest=b"1"), draft("new", key="l", digest=b"1"), draft("3", key="l", digest=b"1")
    )
    assert again.seq == first.seq
    assert new.seq > first.seq
    assert twice.seq == new.seq


async def test_a_known_key_with_another_body_is_a_conflict_and_keeps_nothing(post: Post) -> None:
    await post.submit(draft("first", key="k", digest=b"1"))
    with pytest.raises(KeyConflict) as conflict:
        await post.submit(draft("good", "b"), draft("bad", key="k", digest=b"2"), draft("good too", "c"))
    assert (conflict.value.key, conflict.value.id) == ("k", "first")
    assert await post.found() == ["first"]
    assert (await post.stats()).waiting == 1
    assert await post.drain(1) == ["first"]


async def test_a_key_twice_in_a_batch_with_one_body_is_one_message(post: Post) -> None:
    answers = await post.submit(
        draft("first", key="k", digest=b"1"), draft("other"), draft("again", key="k", digest=b"1")
    )
    assert answers == [
        await kept(post, "first"),
        await kept(post, "other"),
        await kept(post, "first", duplicate=True),
    ]
    assert await post.found(oldest_first=True) == ["first", "other"]


async def test_a_key_twice_in_a_batch_with_two_bodies_is_a_conflict_and_keeps_nothing(post: Post) -> None:
    with pytest.raises(KeyConflict) as conflict:
        await post.submit(draft("other"), draft("first", key="k", digest=b"1"), draft("again", key="k", digest=b"2"))
    assert (conflict.value.key, conflict.value.id) == ("k", "first")
    assert await post.found() == []


async def test_a_conflict_names_the_stored_message_though_the_batch_repeats_its_key(post: Post) -> None:
    await post.submit(draft("first", key="k", digest=b"1"))
    with pytest.raises(KeyConflict) as conflict:
        await post.submit(draft("same", key="k", digest=b"1"), draft("other", key="k", digest=b"2"))
    assert conflict.value.id == "first"


async def test_a_key_is_unique_per_bot(post: Post) -> None:
    await post.submit(draft("one", key="k", digest=b"1"))
    answers = await post.submit(draft("two", key="k", digest=b"2", bot=2))
    assert answers == [await kept(post, "two")]


async def test_a_key_lives_as_long_as_the_record(post: Post) -> None:
    await post.submit(draft("first", key="k", digest=b"1"))
    await post.store.alter(Query(ids=("first",)), Cancel(), T)
    assert await post.submit(draft("2", key="k", digest=b"1")) == [
        await kept(post, "first", State.CANCELLED, duplicate=True)
    ]
    await post.store.alter(Query(ids=("first",)), Purge(), T)
    assert await post.submit(draft("3", key="k", digest=b"2")) == [await kept(post, "3")]


async def test_a_pruned_message_frees_its_key(post: Post) -> None:
    await post.submit(draft("first", key="k", digest=b"1"))
    await post.drain()
    await post.store.prune(T + 1, T + KEY_LIFE + 1)
    assert await post.submit(draft("2", key="k", digest=b"2")) == [await kept(post, "2")]


async def test_a_key_lives_a_week_after_its_message_ended_whatever_is_pruned(post: Post) -> None:
    await post.submit(draft("first", key="k", digest=b"1"), draft("other"))
    await post.drain()
    assert (await post.store.prune(T + 1, T + KEY_LIFE - 1)).messages == 1
    [answer] = await post.submit(draft("2", key="k", digest=b"1"))
    assert (answer.id, answer.duplicate) == ("first", True)


async def test_a_duplicate_does_not_lift_a_suppression(post: Post) -> None:
    await post.submit(draft("first", key="k", digest=b"1"))
    await post.store.suppress(BOT, "a", "blocked", T)
    await post.submit(draft("again", key="k", digest=b"1", force=True))
    [answer] = await post.submit(draft("next"))
    assert answer.state is State.DEAD


# ---------------------------------------------------------------- suppression


async def test_a_draft_to_a_suppressed_chat_is_kept_as_dead(post: Post) -> None:
    await post.store.suppress(BOT, "a", "bot was blocked by the user", T)
    assert await post.submit(draft("m"), at=3) == [await kept(post, "m", State.DEAD)]
    record = await post.record("m")
    assert (record.state, record.ended_at) == (State.DEAD, T + 3)
    assert record.reason == "suppressed: bot was blocked by the user"
    assert ids(await post.claim(4)) == []


async def test_a_suppression_concerns_one_chat_of_one_bot(post: Post) -> None:
    await post.store.suppress(BOT, "a", "blocked", T)
    answers = await post.submit(draft("m", "b"), draft("n", bot=2))
    assert [answer.state for answer in answers] == [State.WAITING, State.WAITING]


async def test_force_lifts_the_suppression_for_good(post: Post) -> None:
    await post.store.suppress(BOT, "a", "blocked", T)
    answers = await post.submit(draft("dead"), draft("forced", force=True), draft("after"))
    assert [answer.state for answer in answers] == [State.DEAD, State.WAITING, State.WAITING]
    assert await post.drain(1) == ["forced", "after"]


async def test_a_suppressed_draft_supersedes_nothing(post: Post) -> None:
    await post.submit(draft("old", target="5:editMessageText", coalesce=True))
    claim = await post.one()
    await post.store.suppress(BOT, "a", "blocked", T)
    await post.retry(claim)
    await post.submit(draft("new", target="5:editMessageText", coalesce=True))
    assert await post.state("old") is State.WAITING


# ---------------------------------------------------------------- moved chats


async def test_a_draft_to_a_chat_that_moved_goes_to_the_lane_of_its_new_id(post: Post) -> None:
    await post.submit(draft("m", "old"))
    await post.retry(await post.one(), moved_to="new")
    await post.submit(draft("n", "old"), draft("o", "new"))
    claim = await post.one(1)
    assert (claim.id, claim.chat) == ("m", "new")
    await post.settle(claim, at=1)
    assert await post.drain(1) == ["n", "o"]


async def test_a_conflict_among_follow_ups_undoes_the_whole_settle(store: Store) -> None:
    post = Post(store)
    await post.take()
    await post.submit(draft("m"), draft("n", "b", key="k", digest=b"1"))
    claims = (await post.claim()).claims
    bad = draft("later", "c", key="k", digest=b"2")
    with pytest.raises(KeyConflict):
        await store.settle(
            [
                Settlement(claims[0], State.DELIVERED),
                Settlement(claims[1], State.DELIVERED, follow_ups=(bad,)),
            ],
            T,
        )
    assert [await post.state("m"), await post.state("n")] == [State.SENDING, State.SENDING]
    assert await post.found(oldest_first=True) == ["m", "n"]


async def test_a_conflict_between_follow_ups_undoes_the_whole_settle(post: Post) -> None:
    await post.submit(draft("m"), draft("n", "b"))
    claims = (await post.claim()).claims
    follow_ups = [draft(f"later{n}", "c", key="k", digest=b"%d" % n) for n in range(2)]
    settlements = [
        Settlement(claim, State.DELIVERED, follow_ups=(follow_up,))
        for claim, follow_up in zip(claims, follow_ups, strict=True)
    ]
    with pytest.raises(KeyConflict):
        await post.store.settle(settlements, T)
    assert await post.found(states=(State.SENDING,), oldest_first=True) == ["m", "n"]
    assert len(await post.found()) == 2


async def test_a_forced_message_to_a_former_name_lifts_the_suppression_for_those_behind_it(post: Post) -> None:
    await post.submit(draft("m", "old"))
    await post.settle(await post.one(), moved_to="new")
    await post.store.suppress(BOT, "new", "blocked", T)
    batch = [draft("before", "new"), draft("forced", "old", force=True), draft("behind", "new")]
    assert [answer.state for answer in await post.submit(*batch)] == [State.DEAD, State.WAITING, State.WAITING]
    assert await post.drain() == ["forced", "behind"]
