"""All that a store holds can be carried into a fresh one of any kind, which then goes on as the first would have."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from kurir.core.errors import KeyConflict
from kurir.core.message import Attempt, FileRef, Options, Priority, State
from kurir.core.rows import BotRow, LaneRow, MessageRow, Section
from kurir.ports import ApiKey, Cancel, Expire, LaneQuery, Portable, Query, Requeue, Row, Settlement, Store
from kurir.services.comparing import Digest

from .steps import BOT, FOREVER, Post, T, draft, edit, ids, low
from .stores import STORES

PHOTO = FileRef("photo", "ab" * 32, 9, "cat.jpg", "image/jpeg", "photo")
RESULT = b'{"message_id":77}'


@pytest.fixture(params=sorted(STORES))
async def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Another store, of each kind."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    with STORES[request.param](folder) as place:
        store = place()
        await store.open()
        yield store
        await store.close()


async def rows(store: Store, section: Section, limit: int = 3) -> list[Row]:
    found: list[Row] = []
    cursor: str | None = None
    while True:
        chunk = await cast("Portable", store).dump(section, cursor, limit)
        found += chunk.rows
        if chunk.next is None:
            return found
        cursor = chunk.next


async def carry(source: Store, target: Store) -> None:
    for section in Section:
        await cast("Portable", target).load(section, await rows(source, section))


async def sums(store: Store) -> dict[Section, tuple[int, str]]:
    """Counts and checksums. (Further order numbers may have been given out.)"""
    made = {}
    for section in set(Section) - {Section.SEQUENCE}:
        digest = Digest()
        for row in await rows(store, section):
            digest.add(row)
        made[section] = digest.count, digest.hex()
    return made


async def make_busy(store: Store) -> Post:
    """Something of every kind. Nobody holds a lease in the end; "flying" and "doubt" are in flight."""
    post = Post(store)
    await post.take()
    await post.submit(
        draft("done", "a", metadata={"order": "7", "user": "x"}, key="k-done", digest=b"1" * 32, files=(PHOTO,)),
        draft("bad", "bad", options=Options(max_attempts=3, backoff=(1.0, 2.5), delete_after=60.0)),
        draft("stale", "stale"),
        draft("moving", "old"),
    )
    for claim in (await post.claim(1)).claims:
        match claim.id:
            case "done":
                learned = ((PHOTO.sha256, "photo", "F1"),)
                assert await post.settle(claim, at=1.5, result=RESULT, file_ids=learned, chat=2.0)
            case "bad":
                assert await post.settle(claim, State.DEAD, 1.5, reason="Bad Request: chat not found", tries=1)
            case "stale":
                assert not await post.settle(replace(claim, token=99), at=1.5)
                assert await post.retry(claim, 1.5, due=400.0, later=True, reason="Bad Gateway", tries=2, doubts=1)
            case "moving":
                assert await post.retry(claim, 1.5, reason="moved", moved_to="new", tries=0)
    await post.submit(
        draft("a1", "a", at=2, key="k-a1", digest=b"2" * 32),
        draft("a2", "a", at=2, priority=Priority.HIGH),
        low("cheap", "b", at=2),
        draft("soon", "c", at=2, due=100.0, expires_at=T + 150.0),
        draft("tired", "d", at=2, expires_at=T + 5.0),
        draft("unwanted", "e", at=2),
        draft("again", "f", at=2),
        edit("edit-1", 5, chat="g", at=2),
        edit("edit-2", 5, chat="g", at=2.5),
        draft("kept", "h", at=2),
        draft("silent", "i", at=2),
        draft("to-old", "old", at=2),
        draft("other", "a", at=2, bot=2),
        at=2,
    )
    await store.alter(Query(ids=("tired",)), Expire(), T + 6)
    await store.alter(Query(ids=("again",)), Cancel("by hand"), T + 6)
    await store.alter(Query(ids=("again",)), Requeue(), T + 7)
    await store.suppress(BOT, "e", "Forbidden: bot was blocked by the user", T + 7)
    await store.steer(BOT, chat="h", until=FOREVER, reason="a talk")
    await store.steer(BOT, chat="i", until=T + 50, reason="a break")
    await store.steer(2, until=FOREVER, reason="holidays")
    await post.submit(draft("flying", "j", at=3), draft("behind", "j", at=3), draft("doubt", "k", at=3), at=3)
    flying = [c for c in (await post.claim(8)).claims if c.id in ("flying", "doubt")]
    assert len(flying) == 2
    for bot_claims in await _others_back(post):
        assert bot_claims
    await _keys(store)
    await post.leave(9)
    return post


async def _others_back(post: Post) -> list[bool]:
    """What else is in flight is handed back."""
    page = await post.store.find(Query(bot=BOT, states=(State.SENDING,)))
    back = [record.id for record in page.items if record.id not in ("flying", "doubt")]
    await post.take("second", 1e7, 2e7)
    adopted = [claim for claim in await post.store.adopt(post.lease, 100) if claim.id in back]
    answers = [await post.settle(claim, State.WAITING, 9, attempt=None, due=0.0) for claim in adopted]
    await post.leave(1e7)
    return answers


async def _keys(store: Store) -> None:
    keys = cast("Any", store)
    await keys.add_key(ApiKey("k_1", "shop", "send", b"1" * 32, T))
    await keys.add_key(ApiKey("k_2", "old", "admin", b"2" * 32, T + 1))
    assert await keys.revoke_key("k_2", T + 2)


async def looks(store: Store) -> list[Any]:
    """What people see."""
    bots = (await store.stats()).bots
    return [
        [replace(r, metadata=dict(r.metadata or {})) for r in (await store.find(Query(with_attempts=True))).items],
        (await store.find(Query(metadata=(("order", "7"),)))).items,
        (await store.find(Query(file=PHOTO.sha256))).items,
        (await store.find(Query(chat="old"))).items,
        (await store.lanes(LaneQuery())).items,
        (await store.lanes(LaneQuery(chat="old"))).items,
        (await store.lanes(LaneQuery(suppressed=True))).items,
        [replace(b, holder=None, lease_until=None) for b in bots],
        (await store.stats()).days,
        await cast("Any", store).keys(),
    ]


async def test_everything_is_seen_as_before(store: Store, fresh: Store) -> None:
    await make_busy(store)
    await carry(store, fresh)
    for seen, expected in zip(await looks(fresh), await looks(store), strict=True):
        assert seen == expected


async def test_counts_and_checksums_agree_whatever_the_kind(store: Store, fresh: Store) -> None:
    await make_busy(store)
    await carry(store, fresh)
    assert await sums(fresh) == await sums(store)


async def test_loading_again_changes_nothing(store: Store, fresh: Store) -> None:
    await make_busy(store)
    await carry(store, fresh)
    await carry(store, fresh)
    assert await sums(fresh) == await sums(store)
    assert (await fresh.stats()).bots == (await store.stats()).bots


async def test_what_changed_meanwhile_replaces_what_was_loaded(store: Store, fresh: Store) -> None:
    post = await make_busy(store)
    await carry(store, fresh)
    await post.take("late", 20)
    for claim in await store.adopt(post.lease, 100):
        assert await post.settle(claim, at=21, result=RESULT, moved_to="elsewhere" if claim.id == "doubt" else None)
    await post.submit(draft("new", "b", at=22), draft("newer", "brand-new", at=22), at=22)
    assert await post.drain(23)
    await store.alter(Query(ids=("bad",)), Requeue(), T + 24)
    await post.leave(25)
    await carry(store, fresh)
    assert await sums(fresh) == await sums(store)
    for seen, expected in zip(await looks(fresh), await looks(store), strict=True):
        assert seen == expected


async def test_the_next_courier_adopts_what_was_in_flight_under_a_higher_token(store: Store, fresh: Store) -> None:
    old = await make_busy(store)
    await carry(store, fresh)
    post = Post(fresh)
    lease = await post.take("new courier", 20)
    assert lease.token > old.lease.token
    assert lease.orphans
    assert sorted(claim.id for claim in await fresh.adopt(lease, 100)) == ["doubt", "flying"]
    assert (await post.claim(20, limit=1)).claims  # and nothing of those lanes
    assert await post.state("behind") is State.WAITING


async def test_claims_come_in_the_same_order(store: Store, fresh: Store) -> None:
    await make_busy(store)
    await carry(store, fresh)
    told = []
    for place in (store, fresh):
        post = Post(place)
        lease = await post.take("new courier", 20)
        for claim in sorted(await place.adopt(lease, 100), key=lambda claim: claim.id):
            assert await post.settle(claim, State.WAITING, 20, doubts=1)
        sent = []
        for at in (20, 60, 110, 500):
            first = await post.claim(at, limit=2, low=1)
            sent += [(at, claim.id, claim.attempts, dict(claim.file_ids)) for claim in first.claims]
            sent += [(at, first.next_at, await post.settle(claim, at=at)) for claim in first.claims]
            sent.append((at, await post.drain(at)))
        told.append(sent)
    assert told[0] == told[1]


async def test_a_new_holder_learns_of_the_last_minute(store: Store, fresh: Store) -> None:
    await make_busy(store)
    await carry(store, fresh)
    lease = await Post(fresh).take("new courier", 20)
    assert sorted(chat for chat, _ in lease.recent) == ["a", "bad", "new", "stale"]


async def test_keys_are_known_and_order_numbers_go_on(store: Store, fresh: Store) -> None:
    await make_busy(store)
    newest = (await store.find(Query(limit=1))).items[0].seq
    await carry(store, fresh)
    post = Post(fresh)
    [same] = await post.submit(draft("x", "a", key="k-done", digest=b"1" * 32), at=20)
    assert (same.id, same.duplicate, same.state) == ("done", True, State.DELIVERED)
    with pytest.raises(KeyConflict):
        await post.submit(draft("y", "a", key="k-a1", digest=b"3" * 32), at=20)
    [new] = await post.submit(draft("z", "old"), at=20)
    assert new.seq > newest
    assert (await post.record("z")).chat == "new"


async def test_order_numbers_of_what_was_removed_are_not_given_again(store: Store, fresh: Store) -> None:
    post = Post(store)
    await post.take()
    await post.submit(draft("gone"))
    seq = (await post.record("gone")).seq
    await post.drain(1)
    assert (await store.prune(T + 10, T + 20)).messages == 1
    await carry(store, fresh)
    [new] = await Post(fresh).submit(draft("new"), at=30)
    assert new.seq > seq


async def test_suppressions_hold(store: Store, fresh: Store) -> None:
    await make_busy(store)
    await carry(store, fresh)
    [refused] = await Post(fresh).submit(draft("x", "e"), at=20)
    assert refused.state is State.DEAD


async def test_an_edit_finds_the_older_one_that_it_replaces(store: Store, fresh: Store) -> None:
    await make_busy(store)
    await carry(store, fresh)
    [new] = await Post(fresh).submit(edit("edit-3", 5, chat="g", at=20), at=20)
    assert new.replaces == "edit-2"


async def test_a_fencing_token_never_falls(store: Store) -> None:
    portable = cast("Portable", store)
    await portable.load(Section.BOTS, [BotRow(BOT, token=7)])
    await portable.load(Section.BOTS, [BotRow(BOT, token=3, paused_until=FOREVER, paused_why="held")])
    post = Post(store)
    lease = await post.take()
    assert (lease.token, lease.paused_until, lease.paused_why) == (8, math.inf, "held")


async def test_nothing_is_claimed_from_a_bot_that_was_loaded_paused(store: Store) -> None:
    portable = cast("Portable", store)
    await portable.load(Section.BOTS, [BotRow(BOT, 1, FOREVER, "held")])
    await portable.load(Section.LANES, [LaneRow(BOT, "a", head_at=T)])
    await portable.load(Section.MESSAGES, [row("m1", 5)])
    post = Post(store)
    await post.take()
    assert ids(await post.claim(1)) == []
    await portable.load(Section.BOTS, [BotRow(BOT, 1)])
    await post.take()
    assert ids(await post.claim(1)) == ["m1"]


async def test_a_lane_that_only_messages_tell_of_comes_into_being(store: Store) -> None:
    await cast("Portable", store).load(Section.MESSAGES, [row("m1", 5), row("m2", 6)])
    post = Post(store)
    await post.take()
    assert await post.drain(1) == ["m1", "m2"]
    [lane] = (await store.lanes(LaneQuery())).items
    assert (lane.chat, lane.waiting) == ("a", 0)


async def test_messages_come_in_order_of_acceptance_each_once(store: Store) -> None:
    post = Post(store)
    await post.submit(*(draft(f"m{n}", f"chat {n % 3}", bot=1 + n % 2) for n in range(25)))
    found = [r for r in await rows(store, Section.MESSAGES, 4) if isinstance(r, MessageRow)]
    assert [r.id for r in found] == [f"m{n}" for n in range(25)]
    assert [r.seq for r in found] == sorted({r.seq for r in found})


async def test_the_note_is_kept_until_it_is_forgotten(store: Store) -> None:
    portable = cast("Portable", store)
    assert await portable.marked() is None
    await portable.mark("half")
    await portable.mark("nearly")
    assert await portable.marked() == "nearly"
    await portable.mark(None)
    assert await portable.marked() is None


async def test_settling_goes_on_with_the_next_attempt(store: Store, fresh: Store) -> None:
    await make_busy(store)
    await carry(store, fresh)
    post = Post(fresh)
    await post.take("new courier", 500)
    found = [claim for claim in (await post.claim(500)).claims if claim.id == "stale"]
    [claim] = found
    assert (claim.tries, claim.doubts, claim.attempts) == (2, 1, 1)
    attempt = Attempt(2, T + 500, 0.5, "delivered", 200)
    assert await fresh.settle([Settlement(claim, State.DELIVERED, attempt, result=RESULT)], T + 501) == [True]
    record = await post.record("stale")
    assert [a.number for a in record.attempts] == [1, 2]
    assert record.result == RESULT


def row(id: str, seq: int) -> MessageRow:
    params = b'{"text":"hello"}'
    return MessageRow(seq, id, BOT, "a", "sendMessage", params, State.WAITING, Priority.NORMAL, seq, T)
