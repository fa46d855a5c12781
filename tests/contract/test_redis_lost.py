"""The Redis store when an answer is lost on the way: the server has done it, and nobody here has heard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from kurir.core.errors import StoreAway
from kurir.core.message import FileRef, State
from kurir.ports import Cancel, Query, Requeue, Settlement
from kurir.stores import breaker
from kurir.stores.redis import RedisStore, link
from tests.servers import first_redis, shared

from .steps import BOT, Post, T, call, draft, edit, ids
from .test_keys import key


class Cutter:
    """Stands between store and server. Each of the next `lose` answers is thrown away, and its connection closed."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self.lose = 0
        self.lost = 0

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accept(self, near: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        far, into = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink, answers in ((near, into, False), (far, out, True)):
            pipe = asyncio.create_task(self._pipe(source, sink, (into, out), answers))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        answers: bool,
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if answers and self.lose:
                    self.lose -= 1
                    self.lost += 1
                    break
                sink.write(data)
                await sink.drain()
        for writer in both:
            writer.close()


@pytest.fixture
async def cutter() -> AsyncIterator[Cutter]:
    cutter = Cutter(shared(first_redis()).port)
    await cutter.open()
    yield cutter
    await cutter.close()


@pytest.fixture
async def store(cutter: Cutter) -> AsyncIterator[RedisStore]:
    with shared(first_redis()).fresh() as url:
        prefix = url.partition("?")[2]
        store = RedisStore(f"redis://127.0.0.1:{cutter.port}?{prefix}", own_clock=False)
        await store.open()
        yield store
        await store.close()


@pytest.fixture
async def post(store: RedisStore) -> Post:
    post = Post(store)
    await post.take()
    return post


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store gives up at the first loss: it is the caller that asks again."""
    monkeypatch.setattr(link, "PAUSES", ())


async def test_a_submit_is_kept_once(post: Post, cutter: Cutter) -> None:
    cutter.lose = 1
    answers = await post.submit(draft("1"), draft("2", key="k", digest=b"1"), draft("3"))
    assert cutter.lost == 1
    assert [(a.id, a.state, a.duplicate) for a in answers] == [(id, State.WAITING, False) for id in "123"]
    assert await post.drain() == ["1", "2", "3"]


async def test_what_a_claim_took_is_told_when_it_asks_again(post: Post, cutter: Cutter) -> None:
    await post.submit(draft("a", "a"), draft("b", "b"), draft("c", "c"))
    cutter.lose = 1
    assert sorted(ids(await post.claim(limit=2))) == ["a", "b"]
    assert cutter.lost == 1
    assert ids(await post.claim(1)) == ["c"]
    assert (await post.stats()).sending == 3


async def test_a_settle_is_recorded_once_and_true(post: Post, cutter: Cutter) -> None:
    await post.submit(draft("1"), draft("2"))
    claim = await post.one()
    cutter.lose = 1
    assert await post.settle(claim, follow_ups=(draft("after", "b"),))
    assert cutter.lost == 1
    record = await post.record("1")
    assert (record.state, len(record.attempts), (await post.stats()).fenced) == (State.DELIVERED, 1, 0)
    assert await post.found() == ["after", "2", "1"]


async def test_a_change_of_holder_tells_what_it_tells_once_more(post: Post, cutter: Cutter) -> None:
    await post.submit(draft("m"), draft("n", "b"))
    [m, n] = (await post.claim()).claims
    await post.settle(n, at=8, attempt=call(7))
    await post.leave(9)
    cutter.lose = 1
    lease = await post.take("successor", at=10)
    assert cutter.lost == 1
    assert (lease.token, lease.orphans, lease.lone, lease.recent) == (2, True, m.id, (("b", T + 7),))


async def test_what_an_adoption_took_is_told_when_it_asks_again(post: Post, cutter: Cutter) -> None:
    await post.submit(draft("a", "a"), draft("b", "b"), draft("c", "c"))
    await post.claim()
    await post.leave()
    lease = await post.take("successor", at=1)
    cutter.lose = 1
    assert [c.id for c in await post.store.adopt(lease, 2)] == ["a", "b"]
    assert [c.id for c in await post.store.adopt(lease, 2)] == ["c"]
    assert await post.store.adopt(lease, 2) == []
    assert cutter.lost == 1


async def test_an_alteration_tells_all_that_it_changed(post: Post, cutter: Cutter) -> None:
    await post.submit(*(draft(str(n), str(n)) for n in range(3)))
    store = post.store
    for change in (Cancel(), Requeue()):
        cutter.lose, cutter.lost = 2, 0  # the look, and then the change
        assert await store.alter(Query(bot=BOT), change, T) == ["0", "1", "2"]
        assert cutter.lost == 2


async def test_a_pruning_tells_the_files_that_it_set_free(post: Post, store: RedisStore, cutter: Cutter) -> None:
    photo = FileRef("photo", "ab" * 32, 9, "cat.jpg", "image/jpeg", "photo")
    await post.submit(draft("1", files=(photo,)))
    await post.drain()
    cutter.lose = 3  # which bots there are, what is old, and the pruning
    pruned = await store.prune(T + 1, T + 2)
    assert (cutter.lost, pruned.messages, pruned.orphan_files) == (3, 1, (photo.sha256,))


async def test_api_keys_are_made_and_revoked_once(store: RedisStore, cutter: Cutter) -> None:
    cutter.lose = 1
    await store.add_key(key())
    cutter.lose = 1
    assert await store.revoke_key("k_1", T)
    assert cutter.lost == 2
    assert not await store.revoke_key("k_1", T + 1)
    assert [kept.revoked_at for kept in await store.keys()] == [T]


# ---------------------------------------------------------------- the caller asks again


@pytest.mark.usefixtures("no_patience")
async def test_a_settle_that_its_caller_repeats_is_true(post: Post, cutter: Cutter) -> None:
    await post.submit(draft("1"))
    settlement = Settlement(await post.one(), State.WAITING, call(1, "failed"), "Bad Gateway", due_at=T + 5, tries=1)
    cutter.lose = 1
    with pytest.raises(StoreAway):
        await post.store.settle([settlement], T + 2)
    assert await post.store.settle([settlement], T + 2) == [True]
    assert await post.store.settle([settlement], T + 2) == [False]
    record = await post.record("1")
    assert (record.tries, len(record.attempts), (await post.stats()).fenced) == (1, 1, 1)


@pytest.mark.usefixtures("no_patience")
async def test_a_settle_repeated_late_does_not_touch_the_next_claim(post: Post, cutter: Cutter) -> None:
    await post.submit(draft("1"))
    settlement = Settlement(await post.one(), State.WAITING, call(1, "failed"), "Bad Gateway", due_at=T + 5, tries=1)
    cutter.lose = 1
    with pytest.raises(StoreAway):
        await post.store.settle([settlement], T + 2)
    claim = await post.one(6)
    assert await post.store.settle([settlement], T + 2) == [True]
    assert await post.state("1") is State.SENDING
    assert await post.settle(claim, at=7)
    assert len((await post.record("1")).attempts) == 2


@pytest.mark.usefixtures("no_patience")
async def test_another_settle_of_the_same_claim_is_fenced(post: Post, cutter: Cutter) -> None:
    await post.submit(draft("1"))
    claim = await post.one()
    cutter.lose = 1
    with pytest.raises(StoreAway):
        await post.settle(claim)
    assert not await post.settle(claim, State.DEAD, reason="late")
    assert await post.state("1") is State.DELIVERED


@pytest.mark.usefixtures("no_patience")
async def test_a_later_claim_tells_what_the_lost_ones_took(post: Post, cutter: Cutter) -> None:
    await post.submit(*(draft(chat, chat) for chat in "abcde"))
    for _ in range(2):
        cutter.lose = 1
        with pytest.raises(StoreAway):
            await post.claim(limit=2)
    told = [*ids(await post.claim(1, limit=3)), *ids(await post.claim(1, limit=3))]
    assert sorted(told) == ["a", "b", "c", "d", "e"]
    assert ids(await post.claim(2)) == []


@pytest.mark.usefixtures("no_patience")
async def test_a_claim_is_told_however_many_failed_after_it(
    post: Post, store: RedisStore, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "OPENS_AFTER", 1000)
    await post.submit(draft("a", "a"), draft("b", "b"))
    cutter.lose = 1
    with pytest.raises(StoreAway):
        await post.claim(limit=1)
    cutter.lose = 1000
    for _ in range(120):
        with pytest.raises(StoreAway):
            await post.claim(limit=1)
    cutter.lose = 0
    assert sorted([*ids(await post.claim(1, limit=1)), *ids(await post.claim(1, limit=1))]) == ["a", "b"]
    assert ids(await post.claim(2)) == []


async def test_a_call_that_the_breaker_kept_back_is_in_no_doubt(
    post: Post, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreAway("the server is away")

    await post.submit(draft("a", "a"))
    with monkeypatch.context() as patch:
        patch.setattr(store.link, "_insist", away)
        for _ in range(3):
            with pytest.raises(StoreAway):
                await post.claim()
        for _ in range(100):
            with pytest.raises(link.Unsent):
                await post.claim()
    async with asyncio.timeout(5):
        while True:
            try:
                assert ids(await post.claim()) == ["a"]
                break
            except StoreAway:
                await asyncio.sleep(0.05)


@pytest.mark.usefixtures("no_patience")
async def test_a_later_adoption_and_lease_tell_what_the_lost_ones_did(post: Post, cutter: Cutter) -> None:
    await post.submit(draft("m"))
    await post.claim()
    await post.leave()
    cutter.lose = 1
    with pytest.raises(StoreAway):
        await post.take("successor", at=1)
    lease = await post.take("successor", at=2)
    assert (lease.token, lease.lone) == (2, "m")
    assert (await post.take("successor", at=3)).lone is None
    cutter.lose = 1
    with pytest.raises(StoreAway):
        await post.store.adopt(lease, 10)
    assert [claim.id for claim in await post.store.adopt(lease, 10)] == ["m"]
    assert await post.store.adopt(lease, 10) == []


@pytest.mark.usefixtures("no_patience")
async def test_a_submit_that_its_caller_repeats_is_kept_once(post: Post, cutter: Cutter) -> None:
    await post.submit(edit("e1"))
    again = edit("e2", key="k", digest=b"1")
    cutter.lose = 1
    with pytest.raises(StoreAway):
        await post.submit(again)
    [answer] = await post.submit(again)
    assert (answer.id, answer.state, answer.duplicate) == ("e2", State.WAITING, False)
    assert (await post.record("e1")).superseded_by == "e2"
    assert await post.drain() == ["e2"]


# ---------------------------------------------------------------- the caller goes away


async def test_a_claim_whose_caller_went_away_is_told_to_the_next(post: Post) -> None:
    await post.submit(draft("1"))
    claiming = asyncio.create_task(post.claim())
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    told: list[str] = []
    async with asyncio.timeout(5):
        while not told:
            told = ids(await post.claim(1))
    assert told == ["1"]
    assert (await post.stats()).sending == 1


async def test_what_was_handed_over_is_carried_out_though_its_caller_goes_away(post: Post, store: RedisStore) -> None:
    submits = [asyncio.create_task(post.submit(draft(f"m{n}", str(n)))) for n in range(20)]
    await asyncio.sleep(0)
    for submit in submits:
        submit.cancel()
    await asyncio.gather(*submits, return_exceptions=True)
    await post.submit(draft("last", "last"))
    assert len(await post.found()) == 21


# ---------------------------------------------------------------- connections


async def test_a_lost_connection_is_made_anew_and_other_calls_notice_nothing(post: Post, cutter: Cutter) -> None:
    await post.submit(*(draft(str(n), str(n)) for n in range(30)))
    cutter.lose = 3
    claimed = await asyncio.gather(*(post.claim(limit=3) for _ in range(10)))
    claims = [claim for one in claimed for claim in one.claims]
    assert sorted(claim.id for claim in claims) == sorted(map(str, range(30)))
    cutter.lose = 3
    settled = await asyncio.gather(*(post.settle(claim, at=1) for claim in claims))
    assert all(settled)
    stats = await post.stats()
    assert (stats.delivered, stats.waiting, stats.fenced) == (30, 0, 0)


async def test_a_server_that_stays_away_is_told_and_work_goes_on_when_it_is_back(post: Post, cutter: Cutter) -> None:
    cutter.lose = 1000
    with pytest.raises(StoreAway) as away:
        await post.submit(draft("1"))
    assert away.value.remedy
    cutter.lose = 0
    assert [a.id for a in await post.submit(draft("1"))] == ["1"]
    assert [replace(claim, params=b"").id for claim in (await post.claim()).claims] == ["1"]
