"""Answers of PostgreSQL that got lost: no verb loses, strands or does anything twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from kurir.core.errors import StoreAway
from kurir.core.message import FileRef, State
from kurir.ports import Cancel, Purge, Query, Requeue, Settlement
from kurir.stores.postgres import PostgresStore
from tests.crash.proxy import Proxy, Trouble
from tests.servers import PostgresServer

from .steps import BOT, Post, T, call, draft
from .test_keys import key

A = TypeVar("A")
PHOTO = FileRef("photo", "ab" * 32, 1234, "cat.jpg", "image/jpeg", "photo")


@dataclass
class Line:
    """A store that hears of its server by way of a proxy, and one that is near it."""

    proxy: Proxy
    post: Post
    near: PostgresStore

    async def unheard(self, verb: Awaitable[A]) -> A:
        """What the verb answers when its answer is lost at first: the server does what it is asked, and then all breaks."""
        answer = await self._unanswered(verb)
        await self.proxy.trouble(Trouble.CUT, 0)
        return await answer

    async def lost(self, verb: Awaitable[object]) -> None:
        """The same, and the server is away for longer than the store insists."""
        answer = await self._unanswered(verb)
        away = asyncio.create_task(self.proxy.trouble(Trouble.REFUSE, 60))
        with pytest.raises(StoreAway):
            await answer
        away.cancel()
        await self.proxy.trouble(Trouble.CUT, 0)

    async def _unanswered(self, verb: Awaitable[A]) -> asyncio.Future[A]:
        await asyncio.sleep(0.2)  # hints of what was done before are told, on the one connection
        deaf = asyncio.create_task(self.proxy.trouble(Trouble.DEAF, 60))
        await asyncio.sleep(0)
        answer = asyncio.ensure_future(verb)
        await asyncio.sleep(0.5)
        assert not answer.done()
        deaf.cancel()
        return answer

    async def in_flight(self) -> list[str]:
        return [record.id for record in (await self.near.find(Query(states=(State.SENDING,)))).items]


async def warm_up(store: PostgresStore) -> None:
    """Every verb once, for another bot, so that the one connection has prepared its statement: then it is one question."""
    [lease] = await store.lease("warm", [2], T + 9, T)
    await store.submit([draft("w", bot=2), draft("x", "b", bot=2)], T)
    w, _ = (await store.claim(lease, T, 9)).claims
    await store.adopt(lease, 1)
    await store.settle([Settlement(w, State.WAITING)], T)
    await store.lease("warm", [2], 0, T)
    [lease] = await store.lease("cold", [2], T + 9, T)
    [x] = await store.adopt(lease, 9)
    await store.settle([Settlement(x, State.DEAD)], T)
    await store.alter(Query(ids=("x",)), Requeue(), T)
    await store.alter(Query(), Cancel(), T)
    await store.alter(Query(), Purge(), T + 9999)
    await store.prune(T, T)
    await store.add_key(key("k_0"))
    await store.revoke_key("k_0", T)


@pytest.fixture
async def line(postgres_server: PostgresServer, postgres_url: str) -> AsyncIterator[Line]:
    near = PostgresStore(postgres_url, own_clock=False)
    await near.open()
    async with Proxy(postgres_server.port) as proxy:
        store = PostgresStore(f"{proxy.url(postgres_url)}&pool=1", own_clock=False)
        await store.open()
        await warm_up(store)
        post = Post(store)
        await post.take()
        yield Line(proxy, post, near)
        await store.close()
    await near.close()


async def test_a_submit_is_kept_once(line: Line) -> None:
    [answer] = await line.unheard(line.post.submit(draft("m", key="k", digest=b"1")))
    assert (answer.id, answer.duplicate, answer.state) == ("m", False, State.WAITING)
    assert await line.post.found() == ["m"]
    assert await line.post.drain() == ["m"]


async def test_what_a_claim_took_is_handed_out_by_the_repetition(line: Line) -> None:
    await line.post.submit(draft("1", "a"), draft("2", "b"))
    claimed = await line.unheard(line.post.claim(limit=1))
    assert [claim.id for claim in claimed.claims] == ["1"]
    assert await line.in_flight() == ["1"]


async def test_what_a_claim_took_is_handed_out_by_a_later_one(line: Line) -> None:
    await line.post.submit(draft("1", "a"), draft("2", "b"), draft("3", "c"))
    [held] = (await line.post.claim(limit=1)).claims
    await line.lost(line.post.claim(limit=1))
    assert sorted(await line.in_flight()) == ["1", "2"]
    [again] = (await line.post.claim(limit=1)).claims
    third = await line.post.one()
    assert (again.id, third.id) == ("2", "3")
    for claim in (held, again, third):
        assert await line.post.settle(claim)


async def test_what_was_adopted_is_handed_out_by_a_later_adoption(line: Line) -> None:
    await line.post.submit(draft("1", "a"), draft("2", "b"))
    await line.post.claim()
    await line.post.leave()
    lease = await line.post.take("successor", at=1)
    await line.lost(line.post.store.adopt(lease, 1))
    adopted = [*await line.post.store.adopt(lease, 1), *await line.post.store.adopt(lease, 1)]
    assert [claim.id for claim in adopted] == ["1", "2"]
    for claim in adopted:
        assert await line.post.settle(claim, at=2)


@pytest.mark.parametrize("state", [State.DELIVERED, State.WAITING])
async def test_a_settle_is_done_once_and_answered_as_done(line: Line, state: State) -> None:
    await line.post.submit(draft("m"), draft("n"))
    claim = await line.post.one()
    assert await line.unheard(line.post.settle(claim, state))
    assert len((await line.post.record("m")).attempts) == 1
    assert (await line.post.stats()).fenced == 0
    assert (await line.post.one()).id == ("n" if state is State.DELIVERED else "m")


async def test_a_settle_that_a_caller_repeats_later_does_not_touch_what_is_claimed_anew(line: Line) -> None:
    await line.post.submit(draft("m"), draft("other", "b"))
    claim, other = (await line.post.claim()).claims
    settlements = [Settlement(claim, State.WAITING, call(0)), Settlement(other, State.DELIVERED, call(0))]
    await line.lost(line.post.store.settle(settlements, T))
    again = await line.post.one()
    assert again.id == "m"
    assert await line.post.store.settle(settlements, T) == [True, True]
    assert await line.in_flight() == ["m"]
    record = await line.post.record("m")
    assert (len(record.attempts), (await line.post.stats()).fenced) == (1, 0)
    assert await line.post.settle(again)
    assert await line.post.store.settle(settlements, T) == [False, False]  # it was answered: this is another one


async def test_follow_ups_of_a_settle_are_accepted_once(line: Line) -> None:
    await line.post.submit(draft("m"))
    assert await line.unheard(line.post.settle(await line.post.one(), follow_ups=(draft("n"), draft("o", "b"))))
    assert await line.post.found(oldest_first=True) == ["m", "n", "o"]


async def test_a_change_of_holder_tells_what_a_new_holder_must_know(line: Line) -> None:
    await line.post.submit(draft("m"), draft("n", "b"))
    m, _ = (await line.post.claim()).claims
    await line.post.settle(m, attempt=call(1), at=1)
    await line.post.leave(2)
    lease = await line.unheard(line.post.take("successor", at=3))
    assert (lease.token, lease.orphans, lease.lone, lease.recent) == (2, True, "n", (("a", T + 1),))


async def test_an_alter_answers_what_it_changed(line: Line) -> None:
    await line.post.submit(draft("1"), draft("2"))
    assert await line.unheard(line.post.store.alter(Query(), Cancel(), T)) == ["1", "2"]
    assert await line.unheard(line.post.store.alter(Query(), Requeue(), T)) == ["1", "2"]
    assert (await line.post.stats()).waiting == 2


async def test_a_prune_answers_the_files_that_went(line: Line) -> None:
    await line.post.submit(draft("m", files=(PHOTO,)))
    await line.post.drain()
    pruned = await line.unheard(line.post.store.prune(T + 1, T + 1))
    assert (pruned.messages, pruned.lanes, pruned.orphan_files) == (1, 1, (PHOTO.sha256,))


async def test_a_key_is_added_and_revoked_by_whoever_asked(line: Line) -> None:
    store: Any = line.post.store
    await line.unheard(store.add_key(key()))
    assert await line.unheard(store.revoke_key("k_1", T)) is True
    assert await store.revoke_key("k_1", T) is False


@pytest.mark.parametrize("trouble", [Trouble.HALF_OPEN, Trouble.CUT])
async def test_connections_that_broke_unnoticed_are_made_anew(line: Line, trouble: Trouble) -> None:
    await line.post.submit(draft("m"))
    await line.post.store.close()
    short = PostgresStore(f"{line.post.store._address.dsn}?schema={line.near._schema}&timeout=0.5", own_clock=False)  # type: ignore[attr-defined]
    await short.open()
    await short.find(Query(ids=("m",)))
    await line.proxy.trouble(trouble, 0)
    started = time.monotonic()
    assert len((await short.find(Query(ids=("m",)))).items) == 1
    assert time.monotonic() - started < 5
    await short.close()


Verb = Callable[[Post], Awaitable[Any]]
VERBS: dict[str, Verb] = {
    "submit": lambda post: post.submit(draft("n", "b")),
    "claim": lambda post: post.claim(),
    "lease": lambda post: post.take(),
    "find": lambda post: post.found(),
    "stats": lambda post: post.store.stats(BOT),
    "steer": lambda post: post.store.steer(BOT, until=0),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_server_that_is_away_is_told_with_a_remedy(line: Line, verb: str) -> None:
    refusing = asyncio.create_task(line.proxy.trouble(Trouble.REFUSE, 60))
    await asyncio.sleep(0)
    with pytest.raises(StoreAway) as away:
        await VERBS[verb](line.post)
    assert away.value.remedy
    refusing.cancel()
    await line.proxy.trouble(Trouble.CUT, 0)
    async with asyncio.timeout(20):
        while True:
            try:
                await VERBS[verb](line.post)
            except StoreAway:
                await asyncio.sleep(0.1)
            else:
                break
