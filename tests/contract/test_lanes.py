"""What `lanes` promises: a look at chats."""

from __future__ import annotations

from typing import Any

import pytest

from kurir.core.errors import InvalidMessage
from kurir.core.message import Priority, State
from kurir.ports import Cancel, Lane, LaneQuery, Query

from .steps import BOT, FOREVER, Post, T, draft, edit


async def look(post: Post, **conditions: Any) -> list[Lane]:
    page = await post.store.lanes(LaneQuery(**conditions))
    assert page.next is None
    return list(page.items)


async def chats(post: Post, **conditions: Any) -> list[str]:
    return [lane.chat for lane in await look(post, **conditions)]


async def lane(post: Post, chat: str = "a") -> Lane:
    [found] = await look(post, bot=BOT, chat=chat)
    return found


# ---------------------------------------------------------------- what is told of one


async def test_a_lane_with_a_message_to_send_tells_who_and_since_when(post: Post) -> None:
    await post.submit(draft("1"), draft("2"), at=3)
    assert await lane(post) == Lane(BOT, "a", waiting=2, next_at=T + 3, head="1")


async def test_the_head_is_the_most_urgent(post: Post) -> None:
    await post.submit(draft("1"), draft("2", priority=Priority.CRITICAL))
    assert (await lane(post)).head == "2"


async def test_a_lane_in_flight_counts_what_flies_and_names_it(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    await post.claim()
    assert await lane(post) == Lane(BOT, "a", waiting=2, sending=True, head="1")


async def test_a_lane_with_nothing_waiting_has_neither_head_nor_time(post: Post) -> None:
    await post.submit(draft("1"))
    await post.drain()
    assert await lane(post) == Lane(BOT, "a")


async def test_a_lane_that_waits_for_a_later_message_tells_when(post: Post) -> None:
    await post.submit(draft("1", due=70), draft("2", due=50))
    assert await lane(post) == Lane(BOT, "a", waiting=2, next_at=T + 50)
    await post.submit(draft("3"))
    assert await lane(post) == Lane(BOT, "a", waiting=3, next_at=T, head="3")


async def test_a_lane_that_retries_tells_when(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    await post.retry(await post.one(), due=8)
    assert await lane(post) == Lane(BOT, "a", waiting=2, next_at=T + 8, head="1")


async def test_a_lane_that_cools_down_tells_until_when(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    await post.settle(await post.one(), chat=30)
    assert await lane(post) == Lane(BOT, "a", waiting=1, next_at=T + 30, chat_at=T + 30, head="2")


async def test_a_cool_down_holds_later_messages_too(post: Post) -> None:
    await post.submit(draft("1", due=50))
    await post.store.steer(BOT, chat="a", until=T + 90)
    assert await lane(post) == Lane(BOT, "a", waiting=1, next_at=T + 90, chat_at=T + 90)


async def test_a_paused_lane_may_never_send_until_it_is_resumed(post: Post) -> None:
    await post.submit(draft("1"))
    await post.store.steer(BOT, chat="a", until=FOREVER)
    assert await lane(post) == Lane(BOT, "a", waiting=1, next_at=FOREVER, chat_at=FOREVER, head="1")
    await post.store.steer(BOT, chat="a", until=0.0)
    assert await lane(post) == Lane(BOT, "a", waiting=1, next_at=T, head="1")


async def test_a_pause_keeps_its_reason_until_the_chat_is_resumed(post: Post) -> None:
    await post.submit(draft("1"))
    await post.store.steer(BOT, chat="a", until=FOREVER, reason="a complaint")
    assert (await lane(post)).chat_why == "a complaint"
    await post.store.steer(BOT, chat="a", until=T + 9, reason="less of one")
    assert (await lane(post)).chat_why == "less of one"
    await post.store.steer(BOT, chat="a", until=0.0, reason="resumed")
    assert (await lane(post)).chat_why is None


@pytest.mark.parametrize("state", [State.DELIVERED, State.WAITING, State.DEAD])
async def test_a_pauses_reason_goes_with_the_pause_and_not_before(post: Post, state: State) -> None:
    await post.submit(draft("1"), draft("2"))
    claim = await post.one()
    await post.store.steer(BOT, chat="a", until=T + 60, reason="a complaint")
    await post.settle(claim, state, at=1, chat=30)
    assert (await lane(post)).chat_why == "a complaint"
    await post.settle(await post.one(at=61), state, at=61, chat=62)
    assert (await lane(post)).chat_why is None


@pytest.mark.parametrize(("until", "why"), [(5.0, "of the new"), (50.0, "of the old")])
async def test_a_chat_that_moved_into_another_has_the_reason_of_the_longer_pause(
    post: Post, until: float, why: str
) -> None:
    await post.submit(draft("1", "old"), draft("2", "new", at=1, due=99))
    claim = await post.one()
    await post.store.steer(BOT, chat="new", until=T + 20, reason="of the new")
    await post.store.steer(BOT, chat="old", until=T + until, reason="of the old")
    await post.settle(claim, moved_to="new", at=2)
    found = await lane(post, "new")
    assert (found.chat_at, found.chat_why) == (T + max(20.0, until), why)


async def test_a_suppressed_lane_tells_why_and_since_when_until_it_is_lifted(post: Post) -> None:
    await post.submit(draft("1"), draft("2"))
    await post.settle(await post.one(), State.DEAD, at=4, suppress="Forbidden: bot was blocked by the user")
    why = "Forbidden: bot was blocked by the user"
    assert await lane(post) == Lane(BOT, "a", suppressed=why, suppressed_at=T + 4)
    await post.store.suppress(BOT, "a", None, T + 5)
    assert await lane(post) == Lane(BOT, "a")


async def test_force_and_a_requeue_lift_what_is_told_of_a_suppression(post: Post) -> None:
    await post.store.suppress(BOT, "a", "blocked", T)
    await post.submit(draft("1", force=True))
    assert (await lane(post)).suppressed_at is None
    assert await chats(post, suppressed=True) == []


async def test_a_chat_that_moved_is_told_of_under_its_new_id(post: Post) -> None:
    await post.submit(draft("1", "old"), draft("2", "old"))
    await post.settle(await post.one(), moved_to="new", at=1)
    [moved] = await look(post)
    assert (moved.chat, moved.waiting, moved.head, moved.moved_to) == ("new", 1, "2", None)


async def test_the_old_name_answers_where_the_chat_went_and_nothing_else(post: Post) -> None:
    await post.submit(draft("1", "old"), draft("2", "old"))
    await post.settle(await post.one(), moved_to="new", chat=90)
    assert await look(post, chat="old") == [Lane(BOT, "old", moved_to="new")]
    assert await look(post, chat="old", waiting=True) == []
    assert await look(post, chat="old", suppressed=True) == []


async def test_a_chat_that_moved_into_another_s_lane_leaves_only_its_alias(post: Post) -> None:
    await post.submit(draft("1", "old"), draft("2", "new"), draft("3", "old"))
    old, new = (await post.claim()).claims
    await post.store.suppress(BOT, "old", "blocked", T)
    await post.retry(old, moved_to="new")
    await post.settle(new)
    assert await chats(post) == ["new"]
    assert await chats(post, suppressed=True) == []
    assert await look(post, chat="old") == [Lane(BOT, "old", moved_to="new")]


async def test_a_chat_that_moved_twice_is_at_its_newest_name(post: Post) -> None:
    await post.submit(*(draft(str(n), "first") for n in range(3)))
    await post.settle(await post.one(), moved_to="second")
    await post.settle(await post.one(1), moved_to="third")
    assert await look(post, chat="first") == [Lane(BOT, "first", moved_to="third")]
    assert await look(post, chat="second") == [Lane(BOT, "second", moved_to="third")]


async def test_a_chat_that_moved_to_the_old_name_of_another_is_where_that_one_is(post: Post) -> None:
    await post.submit(draft("1", "a"), draft("2", "b"))
    a, b = (await post.claim()).claims
    await post.settle(a, moved_to="a2")
    await post.settle(b, moved_to="a")
    assert await look(post, chat="b") == [Lane(BOT, "b", moved_to="a2")]


# ---------------------------------------------------------------- which are told of


async def test_no_lanes_are_an_empty_page(post: Post) -> None:
    assert await look(post) == []
    assert await look(post, chat="none") == []
    assert await look(post, bot=9, chat="none") == []


async def test_lanes_come_in_the_order_in_which_they_came_into_being(post: Post) -> None:
    await post.submit(draft("1", "c"), draft("2", "a"))
    await post.store.steer(BOT, chat="d", until=T)
    await post.store.suppress(BOT, "b", "blocked", T)
    await post.submit(draft("3", "e"), draft("4", "a", priority=Priority.CRITICAL))
    await post.drain()
    assert await chats(post) == ["c", "a", "d", "b", "e"]


async def test_by_bot(post: Post) -> None:
    await post.submit(draft("1"), draft("2", bot=2), draft("3", "b"))
    assert [(lane.bot, lane.chat) for lane in await look(post)] == [(1, "a"), (2, "a"), (1, "b")]
    assert await chats(post, bot=BOT) == ["a", "b"]
    assert await chats(post, bot=9) == []


async def test_by_chat_is_one_lane_a_bot_in_the_order_of_the_bots(post: Post) -> None:
    await post.submit(draft("1", bot=7), draft("2", bot=3), draft("3"), draft("4", "b", bot=2))
    assert [lane.bot for lane in await look(post, chat="a")] == [1, 3, 7]
    assert [lane.bot for lane in await look(post, chat="a", bot=3)] == [3]


async def test_only_those_with_something_waiting(post: Post) -> None:
    await post.submit(*(draft(chat, chat) for chat in ("ready", "sent", "cancelled")), draft("later", "later", due=50))
    await post.store.alter(Query(ids=("cancelled",)), Cancel(), T)
    await post.store.suppress(BOT, "suppressed", "blocked", T)
    flying = {claim.id: claim for claim in (await post.claim()).claims}
    await post.settle(flying["sent"])
    await post.submit(draft("1", "sent again"), edit("2", chat="sent again"), at=1)
    assert await chats(post, waiting=True) == ["ready", "later", "sent again"]
    assert await chats(post, waiting=True, bot=BOT) == ["ready", "later", "sent again"]
    assert await chats(post, waiting=True, bot=9) == []
    assert await chats(post, waiting=True, chat="later") == ["later"]
    assert await chats(post, waiting=True, chat="sent") == []


async def test_only_suppressed_ones(post: Post) -> None:
    await post.submit(draft("1", "free"), draft("2", "blocked"))
    await post.store.suppress(BOT, "blocked", "blocked", T)
    await post.store.suppress(2, "elsewhere", "deactivated", T - 9)
    assert await chats(post, suppressed=True) == ["blocked", "elsewhere"]
    assert await chats(post, suppressed=True, bot=2) == ["elsewhere"]
    assert await chats(post, suppressed=True, chat="blocked") == ["blocked"]
    assert await chats(post, suppressed=True, chat="free") == []


async def test_all_conditions_hold_together(post: Post) -> None:
    await post.submit(draft("1"), draft("2", "b"))
    flying = (await post.claim()).claims
    await post.store.suppress(BOT, "a", "blocked", T)
    await post.store.suppress(BOT, "c", "blocked", T)
    assert len(flying) == 2
    assert await chats(post, waiting=True, suppressed=True) == ["a"]


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize("conditions", [{}, {"bot": BOT}, {"waiting": True}, {"suppressed": True}])
async def test_pages_follow_each_other_without_gap_or_overlap(post: Post, conditions: dict[str, Any]) -> None:
    names = [f"c{n * 7 % 10}" for n in range(7)]
    await post.submit(*(draft(name, name) for name in names))
    await post.claim()
    for n, name in enumerate(reversed(names)):
        await post.store.suppress(BOT, name, "blocked", T - n)
    seen, cursor, sizes = [], None, []
    while True:
        page = await post.store.lanes(LaneQuery(limit=3, cursor=cursor, **conditions))
        seen += [lane.chat for lane in page.items]
        sizes.append(len(page.items))
        cursor = page.next
        if cursor is None:
            break
    assert (seen, sizes) == (names, [3, 3, 1])


async def test_pages_of_one_chat_go_through_the_bots(post: Post) -> None:
    await post.submit(*(draft(str(bot), bot=bot) for bot in (5, 3, 4)))
    page = await post.store.lanes(LaneQuery(chat="a", limit=2))
    rest = await post.store.lanes(LaneQuery(chat="a", limit=2, cursor=page.next))
    assert [lane.bot for lane in (*page.items, *rest.items)] == [3, 4, 5]
    assert rest.next is None


async def test_the_last_page_has_no_next_even_when_it_is_full(post: Post) -> None:
    await post.submit(draft("1"), draft("2", "b"))
    assert (await post.store.lanes(LaneQuery(limit=2))).next is None


async def test_a_lane_that_came_into_being_meanwhile_is_on_the_pages_to_come(post: Post) -> None:
    await post.submit(draft("1"), draft("2", "b"), draft("3", "c"))
    page = await post.store.lanes(LaneQuery(limit=2))
    await post.submit(draft("4", "A"))
    assert await chats(post, cursor=page.next) == ["c", "A"]


async def test_a_page_has_a_thousand_lanes_at_most(post: Post) -> None:
    await post.submit(*(draft(str(n), str(n)) for n in range(1001)))
    page = await post.store.lanes(LaneQuery(limit=5000))
    assert len(page.items) == 1000
    assert await chats(post, cursor=page.next) == ["1000"]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1; DROP TABLE lane", "٣"])
async def test_a_bad_cursor_is_refused(post: Post, cursor: str) -> None:
    with pytest.raises(InvalidMessage) as refusal:
        await post.store.lanes(LaneQuery(cursor=cursor))
    assert refusal.value.field == "cursor"


async def test_lanes_of_one_batch_come_into_being_in_its_order(post: Post) -> None:
    keyed = draft("k", "a", key="k", digest=b"1")
    await post.submit(draft("m", "b"), edit("e", chat="c"), keyed, draft("n", "d"), draft("o", "b", bot=2))
    lanes = (await post.store.lanes(LaneQuery())).items
    assert [(lane.bot, lane.chat) for lane in lanes] == [(1, "b"), (1, "c"), (1, "a"), (1, "d"), (2, "b")]


async def test_a_duplicate_brings_no_lane_into_being(post: Post) -> None:
    await post.submit(draft("m", "a", key="k", digest=b"1"))
    again, twin = draft("n", "b", key="k", digest=b"1"), draft("p", "d", key="l", digest=b"1")
    await post.submit(again, draft("o", "c", key="l", digest=b"1"), twin)
    assert [lane.chat for lane in await look(post)] == ["a", "c"]
