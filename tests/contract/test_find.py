"""What `find` promises: filters, order, pages."""

from __future__ import annotations

import asyncio

import pytest

from kurir.core.errors import InvalidMessage
from kurir.core.message import Priority, State
from kurir.ports import Cancel, Expire, LanePage, LaneQuery, Page, Query, Store

from .steps import BOT, Post, T, draft


async def test_newest_acceptance_first_unless_oldest_first(post: Post) -> None:
    await post.submit(*(draft(str(n), due=50 - n, priority=Priority(n % 4)) for n in range(5)))
    assert await post.found() == ["4", "3", "2", "1", "0"]
    assert await post.found(oldest_first=True) == ["0", "1", "2", "3", "4"]


async def test_nothing_found_is_an_empty_page(post: Post) -> None:
    page = await post.store.find(Query())
    assert (page.items, page.next) == ((), None)


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_pages_follow_each_other_without_gap_or_overlap(post: Post, oldest_first: bool) -> None:
    await post.submit(*(draft(str(n)) for n in range(7)))
    seen, cursor, sizes = [], None, []
    while True:
        page = await post.store.find(Query(limit=3, cursor=cursor, oldest_first=oldest_first))
        seen += [record.id for record in page.items]
        sizes.append(len(page.items))
        cursor = page.next
        if cursor is None:
            break
    assert sizes == [3, 3, 1]
    assert seen == sorted(seen, reverse=not oldest_first)
    assert len(seen) == 7


async def test_the_last_page_has_no_next_even_when_it_is_full(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    assert (await post.store.find(Query(limit=2))).next is None


async def test_pages_do_not_shift_when_messages_arrive(post: Post) -> None:
    await post.submit(*(draft(str(n)) for n in range(4)))
    page = await post.store.find(Query(limit=2))
    await post.submit(draft("new"))
    assert await post.found(limit=2, cursor=page.next) == ["1", "0"]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1; DROP TABLE message", "٣"])
async def test_a_bad_cursor_is_refused(post: Post, cursor: str) -> None:
    with pytest.raises(InvalidMessage) as refusal:
        await post.store.find(Query(cursor=cursor))
    assert refusal.value.field == "cursor"


async def test_by_ids(post: Post) -> None:
    await post.submit(*(draft(str(n)) for n in range(4)))
    assert await post.found(ids=("1", "3", "none")) == ["3", "1"]


async def test_by_order_numbers(post: Post) -> None:
    answers = await post.submit(*(draft(str(n)) for n in range(5)))
    seqs = tuple(answers[n].seq for n in (3, 1, 4))
    assert await post.found(seqs=seqs) == ["4", "3", "1"]
    assert await post.found(seqs=seqs, oldest_first=True) == ["1", "3", "4"]
    assert await post.found(seqs=(*seqs, 10**12), ids=("1", "2")) == ["1"]
    assert await post.found(seqs=(10**12,)) == []


async def test_pages_of_order_numbers_follow_each_other(post: Post) -> None:
    seqs = tuple(answer.seq for answer in await post.submit(*(draft(str(n)) for n in range(4))))
    page = await post.store.find(Query(seqs=seqs[1:], limit=2))
    assert [record.id for record in page.items] == ["3", "2"]
    assert await post.found(seqs=seqs[1:], limit=2, cursor=page.next) == ["1"]


async def test_by_bot(post: Post) -> None:
    await post.submit(draft("1"), draft("2", bot=2))
    assert await post.found(bot=2) == ["2"]


async def test_by_state_where_sending_is_in_flight(post: Post) -> None:
    await post.submit(*(draft(id, id) for id in ("waiting", "delivered", "dead", "sending", "expired", "cancelled")))
    await post.store.alter(Query(ids=("expired",)), Expire(), T)
    await post.store.alter(Query(ids=("cancelled",)), Cancel(), T)
    claims = {claim.id: claim for claim in (await post.claim()).claims}
    await post.settle(claims["delivered"])
    await post.settle(claims["dead"], State.DEAD)
    await post.retry(claims["waiting"], due=50)
    for state in State:
        assert await post.found(states=(state,)) == [state.value]
    assert await post.found(states=(State.SENDING, State.DEAD)) == ["sending", "dead"]
    assert await post.found(states=(State.SENDING, State.WAITING)) == ["sending", "waiting"]


async def test_a_message_behind_one_in_flight_is_waiting(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    await post.claim()
    assert await post.found(states=(State.SENDING,)) == ["1"]
    assert await post.found(states=(State.WAITING,)) == ["2"]


async def test_by_chat(post: Post) -> None:
    await post.submit(draft("1"), draft("2", "b"), draft("3", bot=2))
    assert await post.found(chat="a") == ["3", "1"]
    assert await post.found(chat="a", bot=BOT) == ["1"]
    assert await post.found(chat="none") == []


async def test_by_any_name_a_chat_had(post: Post) -> None:
    await post.submit(draft("before", "old"), draft("m", "old"))
    await post.settle(await post.one())
    await post.settle(await post.one(), moved_to="new")
    await post.submit(draft("after", "new"))
    assert await post.found(chat="old") == ["after", "m", "before"]
    assert await post.found(chat="new") == ["after", "m", "before"]
    assert (await post.record("before")).chat == "new"


async def test_by_method_priority_and_key(post: Post) -> None:
    await post.submit(
        draft("1", method="sendPhoto"),
        draft("2", priority=Priority.CRITICAL),
        draft("3", key="k", digest=b""),
    )
    assert await post.found(method="sendPhoto") == ["1"]
    assert await post.found(priority=Priority.CRITICAL) == ["2"]
    assert await post.found(key="k") == ["3"]
    assert await post.found(key="none") == []


async def test_since_is_inclusive_and_until_is_not(post: Post) -> None:
    await post.submit(*(draft(str(n), at=n) for n in range(4)))
    assert await post.found(since=T + 1, until=T + 3) == ["2", "1"]


async def test_expired_by_is_inclusive_and_leaves_out_what_never_expires(post: Post) -> None:
    await post.submit(draft("1", expires_at=T + 1), draft("2", expires_at=T + 2), draft("3"))
    assert await post.found(expired_by=T + 1) == ["1"]
    assert await post.found(expired_by=T + 9, states=(State.WAITING,)) == ["2", "1"]
    assert await post.found(expired_by=T, states=(State.WAITING,)) == []


async def test_by_all_pairs_of_metadata(post: Post) -> None:
    await post.submit(
        draft("1", metadata={"order": "7", "user": "ann"}),
        draft("2", metadata={"order": "7", "user": "bob"}),
        draft("3", metadata={"order": "8"}),
        draft("4"),
    )
    assert await post.found(metadata=(("order", "7"),)) == ["2", "1"]
    assert await post.found(metadata=(("order", "7"), ("user", "ann"))) == ["1"]
    assert await post.found(metadata=(("order", "8"), ("user", "ann"))) == []
    assert (await post.record("1")).metadata == {"order": "7", "user": "ann"}


async def test_by_how_the_reason_starts(post: Post) -> None:
    await post.submit(draft("1"), draft("2", "b"), draft("3", "c"))
    one, two, _ = (await post.claim()).claims
    await post.settle(one, State.DEAD, reason="unknown: timeout")
    await post.settle(two, State.DEAD, reason="Unknown%")
    assert await post.found(reason="unknown:") == ["1"]
    assert await post.found(reason="Unknown%") == ["2"]
    assert await post.found(reason="%") == []


async def test_all_conditions_hold_together(post: Post) -> None:
    await post.submit(draft("1", method="sendPhoto"), draft("2", "b", method="sendPhoto"), draft("3"))
    assert await post.found(method="sendPhoto", chat="a", states=(State.WAITING,)) == ["1"]


async def test_attempts_only_when_asked_for(post: Post) -> None:
    await post.submit(draft("m"))
    await post.drain()
    [without] = (await post.store.find(Query())).items
    [with_attempts] = (await post.store.find(Query(with_attempts=True))).items
    assert (len(without.attempts), len(with_attempts.attempts)) == (0, 1)


async def test_what_is_asked_for_twice_is_told_once(post: Post) -> None:
    answers = await post.submit(draft("a"), draft("b"))
    seqs = (answers[0].seq, answers[1].seq, answers[1].seq)
    assert await post.found(seqs=seqs, oldest_first=True) == ["a", "b"]
    assert await post.found(ids=("b", "a", "b"), oldest_first=True) == ["a", "b"]


VAST = 2**70  # no store's column holds it
ASKED = {
    "find": lambda store: store.find(Query(bot=VAST)),
    "find by order number": lambda store: store.find(Query(seqs=(VAST,))),
    "alter": lambda store: store.alter(Query(bot=VAST), Cancel(), T),
    "lanes": lambda store: store.lanes(LaneQuery(bot=VAST)),
    "stats": lambda store: store.stats(VAST),
}


@pytest.mark.parametrize("what", ASKED)
async def test_who_asks_for_a_bot_or_message_that_cannot_be_finds_nothing_or_is_told_so(
    store: Store, what: str
) -> None:
    await store.submit([draft("m")], T)
    [found] = await asyncio.gather(ASKED[what](store), return_exceptions=True)
    told = isinstance(found, InvalidMessage) and "64 bits" in str(found)
    assert told or found in (Page(()), LanePage(()), []) or not found.bots
    assert (await store.find(Query())).items  # the store is well
    assert (await store.submit([draft("m2")], T))[0].state is State.WAITING


async def test_a_draft_of_a_bot_that_cannot_be_is_no_trouble_of_the_stores_and_takes_nobody_along(store: Store) -> None:
    drafts = [draft("1"), draft("2", bot=VAST), draft("3", "b")]
    answers = await asyncio.gather(*(store.submit([one], T) for one in drafts), return_exceptions=True)
    assert [isinstance(answers[place], Exception) for place in (0, 2)] == [False, False]
    assert isinstance(answers[1], InvalidMessage | list)
