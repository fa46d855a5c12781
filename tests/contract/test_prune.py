"""What `prune`, `watch`, `open` and `close` promise."""

from __future__ import annotations

import asyncio

from kurir.core.message import FileRef, State
from kurir.ports import Cancel, Pruned, Query, Store

from .steps import BOT, Post, T, draft, ids

HOUR = 3600.0


def file(sha256: str) -> FileRef:
    return FileRef("photo", sha256, 9, "cat.jpg", "image/jpeg", "photo")


async def test_final_messages_that_ended_before_are_removed(post: Post) -> None:
    await post.submit(draft("1"), draft("2"), draft("3"))
    for at in (1, 2):
        await post.settle(await post.one(at), at=at)
    assert (await post.store.prune(T + 2, T + 5)).messages == 1
    assert await post.found() == ["3", "2"]
    assert (await post.store.prune(T + 3, T + 5)).messages == 1
    assert await post.found() == ["3"]


async def test_every_final_state_is_pruned_and_no_other(post: Post) -> None:
    await post.submit(*(draft(id, id) for id in ("delivered", "dead", "cancelled", "waiting", "sending")))
    await post.store.alter(Query(ids=("cancelled",)), Cancel(), T)
    claims = {claim.id: claim for claim in (await post.claim()).claims}
    await post.settle(claims["delivered"])
    await post.settle(claims["dead"], State.DEAD)
    await post.retry(claims["waiting"])
    await post.store.prune(T + 9, T + 9)
    assert await post.found() == ["sending", "waiting"]


async def test_no_more_than_limit_the_oldest_end_first(post: Post) -> None:
    await post.submit(*(draft(str(n), str(n)) for n in range(5)))
    claims = (await post.claim()).claims
    for n, claim in enumerate(reversed(claims)):
        await post.settle(claim, at=n)
    counts = []
    counts.append((await post.store.prune(T + 9, T + 9, limit=2)).messages)
    assert await post.found() == ["2", "1", "0"]
    counts += [(await post.store.prune(T + 9, T + 9, limit=2)).messages for _ in range(3)]
    assert counts == [2, 2, 1, 0]


async def test_file_ids_are_forgotten_with_the_last_message_of_any_bot_that_refers_to_the_file(post: Post) -> None:
    photo, other = file("ab" * 32), file("cd" * 32)
    learned = ((photo.sha256, "photo", "AgAC"), (other.sha256, "photo", "AgAD"))
    await post.submit(draft("1", files=(photo, other)))
    await post.settle(await post.one(), at=1, file_ids=learned)
    await post.submit(draft("2", files=(photo,)), at=10)
    await post.settle(await post.one(10), at=10)
    assert (await post.store.prune(T + 5, T + 20)).orphan_files == (other.sha256,)
    await post.submit(draft("3", files=(photo, other)), at=30)
    claim = await post.one(30)
    assert dict(claim.file_ids) == {(photo.sha256, "photo"): "AgAC"}
    await post.settle(claim, at=31)
    await post.submit(draft("of another bot", bot=2, files=(photo,)), at=32)
    assert (await post.store.prune(T + 50, T + 50)).orphan_files == (other.sha256,)
    await post.submit(draft("4", files=(photo,)), at=60)
    assert (await post.one(60)).file_ids[photo.sha256, "photo"] == "AgAC"


async def test_metadata_and_attempts_go_too(post: Post) -> None:
    await post.submit(draft("m", metadata={"k": "v"}))
    await post.drain()
    await post.store.prune(T + 1, T + 1)
    assert await post.found(metadata=(("k", "v"),)) == []
    await post.submit(draft("m"))
    assert (await post.record("m")).attempts == ()
    assert (await post.one()).attempts == 0


async def test_files_that_only_the_removed_messages_referred_to_are_answered(post: Post) -> None:
    await post.submit(
        draft("1", files=(file("aa"), file("bb"))),
        draft("2", files=(file("bb"),)),
        draft("3", files=(file("cc"),)),
    )
    await post.settle(await post.one())
    assert (await post.store.prune(T + 1, T + 1)).orphan_files == ("aa",)
    await post.settle(await post.one())
    assert (await post.store.prune(T + 1, T + 1)).orphan_files == ("bb",)


async def test_orphans_are_told_in_order_however_a_message_names_them(post: Post) -> None:
    await post.submit(draft("1", files=(file("bb"), file("cc"), file("aa"))))
    await post.settle(await post.one())
    assert (await post.store.prune(T + 1, T + 1)).orphan_files == ("aa", "bb", "cc")


async def test_a_file_of_a_final_message_that_remains_is_no_orphan(post: Post) -> None:
    await post.submit(draft("1", files=(file("aa"),)), draft("2", files=(file("aa"),)))
    for at in (1, 2):
        await post.settle(await post.one(at), at=at)
    assert (await post.store.prune(T + 2, T + 9)).orphan_files == ()
    assert (await post.store.prune(T + 3, T + 9)).orphan_files == ("aa",)


async def test_a_file_twice_in_a_message_is_one_reference(post: Post) -> None:
    await post.submit(draft("1", files=(file("aa"), file("aa"))), draft("2", files=(file("aa"),)))
    await post.settle(await post.one())
    assert (await post.store.prune(T + 1, T + 1)).orphan_files == ()


async def test_an_orphan_is_told_once_however_many_messages_referred_to_it(post: Post) -> None:
    await post.submit(
        draft("1", files=(file("aa"), file("aa"))), draft("2", "b", files=(file("aa"),)), draft("3", bot=2)
    )
    for claim in (await post.claim()).claims:
        await post.settle(claim)
    assert (await post.store.prune(T + 1, T + 1)).orphan_files == ("aa",)


async def test_lanes_with_no_message_left_are_removed(post: Post) -> None:
    await post.submit(draft("1", "a"), draft("2", "b"), draft("3", "b"))
    for claim in (await post.claim()).claims:
        await post.settle(claim)
    assert await post.store.prune(T + 1, T + 1) == Pruned(messages=2, lanes=1)
    assert await post.drain(2) == ["3"]
    assert await post.store.prune(T + 3, T + 3) == Pruned(messages=1, lanes=1)


async def test_a_lane_is_kept_for_an_hour_after_its_pause(post: Post) -> None:
    await post.submit(draft("1"))
    await post.settle(await post.one(), chat=10)
    assert (await post.store.prune(T + 1, T + 10 + HOUR)).lanes == 0
    await post.submit(draft("2"), at=HOUR)
    await post.drain(HOUR)
    assert (await post.store.prune(T + HOUR + 1, T + 11 + HOUR)).lanes == 1


async def test_a_suppression_survives_the_pruning_of_its_messages(post: Post) -> None:
    await post.submit(draft("1"))
    await post.settle(await post.one(), State.DEAD, suppress="blocked")
    await post.store.suppress(1, "a", "blocked", T + 2)
    assert await post.store.prune(T + 1, T + 9 * HOUR) == Pruned(messages=1, lanes=0)
    [answer] = await post.submit(draft("2"))
    assert answer.state is State.DEAD


async def test_an_old_suppression_is_lifted_when_asked(post: Post) -> None:
    await post.store.suppress(1, "a", "blocked", T)
    await post.store.prune(T + 9, T + 9, lift_before=T)
    [answer] = await post.submit(draft("1"))
    assert answer.state is State.DEAD
    await post.store.prune(T + 9, T + 9, lift_before=T + 1)
    [answer] = await post.submit(draft("2"))
    assert answer.state is State.WAITING


async def test_an_alias_survives_the_pruning_of_its_messages(post: Post) -> None:
    await post.submit(draft("1", "old"))
    await post.settle(await post.one(), moved_to="new")
    await post.store.prune(T + 1, T + 9 * HOUR)
    await post.submit(draft("2", "old"), at=9 * HOUR)
    assert (await post.one(9 * HOUR)).chat == "new"


# ---------------------------------------------------------------- watch, open, close


async def test_watch_returns_after_its_timeout(store: Store) -> None:
    await store.watch(0.0)
    await asyncio.wait_for(store.watch(0.05), 5)


async def test_watch_returns_when_something_changed(post: Post) -> None:
    await post.store.watch(0.0)
    watching = asyncio.create_task(post.store.watch(60))
    await asyncio.sleep(0.02)
    await post.submit(draft("m"))
    await asyncio.wait_for(watching, 5)


async def test_what_was_accepted_survives_close_and_open(post: Post) -> None:
    await post.submit(draft("1"), draft("2", "b", due=5), draft("3", "c"))
    await post.store.suppress(BOT, "s", "blocked", T)
    await post.store.steer(BOT, chat="c", until=T + 50)
    await post.settle(await post.one())
    await post.store.close()
    await post.store.open()
    await post.take()
    assert await post.state("1") is State.DELIVERED
    assert ids(await post.claim(10)) == ["2"]
    assert ids(await post.claim(50)) == ["3"]
    [answer] = await post.submit(draft("4", "s"))
    assert answer.state is State.DEAD
