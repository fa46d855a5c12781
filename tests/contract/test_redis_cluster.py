"""The Redis store on a cluster. One node that owns all slots refuses, as any does, what would reach over several of them."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from kurir.core.errors import InvalidMessage, InvalidSetting, KeyConflict
from kurir.core.message import State
from kurir.ports import Settlement
from kurir.stores.redis import RedisStore
from tests.servers import RedisServer

from . import (
    test_alter,
    test_claim,
    test_coalesce,
    test_find,
    test_lanes,
    test_lease,
    test_prune,
    test_repeats,
    test_settle,
    test_stats,
    test_submit,
)
from .steps import BOT, Post, T, draft, ids

PATIENCE = 30.0  # seconds for the cluster to come up
MODULES = (
    test_alter,
    test_claim,
    test_coalesce,
    test_find,
    test_lanes,
    test_lease,
    test_prune,
    test_repeats,
    test_settle,
    test_stats,
    test_submit,
)
Test = Callable[..., Awaitable[None]]


def plain_tests(module: ModuleType) -> Iterator[Any]:
    """Those that need nothing but a store."""
    for name, test in vars(module).items():
        if name.startswith("test_") and list(inspect.signature(test).parameters) in (["post"], ["store"]):
            yield pytest.param(test, id=f"{module.__name__.rpartition('.')[2]}-{name}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisServer]:
    with RedisServer(options={"cluster-enabled": "yes"}) as server, server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        end = time.monotonic() + PATIENCE
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            assert time.monotonic() < end
            time.sleep(0.02)
        yield server


@pytest.fixture
async def store(cluster: RedisServer) -> AsyncIterator[RedisStore]:
    store = RedisStore(f"{cluster.url}?prefix=t{uuid.uuid4().hex[:8]}", own_clock=False)
    await store.open()
    assert store.link.cluster
    yield store
    await store.close()


@pytest.fixture
async def post(store: RedisStore) -> Post:
    post = Post(store)
    await post.take()
    return post


@pytest.mark.parametrize("test", [test for module in MODULES for test in plain_tests(module)])
async def test_the_contract_holds(test: Test, store: RedisStore) -> None:
    if "store" in inspect.signature(test).parameters:
        await test(store)
    else:
        post = Post(store)
        await post.take()
        await test(post)


async def test_a_batch_of_several_bots_is_numbered_in_its_order(store: RedisStore) -> None:
    answers = await store.submit([draft(str(n), bot=1 + n % 3) for n in range(9)], T)
    assert [answer.seq for answer in answers] == sorted({answer.seq for answer in answers})


async def test_a_conflict_at_one_bot_keeps_nothing_at_the_others(store: RedisStore) -> None:
    await store.submit([draft("first", bot=2, key="k", digest=b"1")], T)
    with pytest.raises(KeyConflict) as conflict:
        await store.submit([draft("good"), draft("bad", bot=2, key="k", digest=b"2"), draft("too", bot=3)], T)
    assert conflict.value.id == "first"
    assert [(bot.bot, bot.waiting) for bot in (await store.stats()).bots] == [(2, 1)]


async def test_claims_of_several_bots_are_settled_in_one_call(store: RedisStore) -> None:
    bots = (1, 2, 3)
    await store.submit([draft(str(bot), bot=bot) for bot in bots], T)
    leases = await store.lease("courier", bots, T + 99, T)
    claims = [claim for lease in leases for claim in (await store.claim(lease, T, 1)).claims]
    settlements = [Settlement(claim, State.DELIVERED) for claim in (*claims, claims[0])]
    assert await store.settle(settlements, T) == [True, True, True, False]
    assert [(bot.bot, bot.delivered) for bot in (await store.stats()).bots] == [(1, 1), (2, 1), (3, 1)]


async def test_what_follows_a_settlement_has_to_be_the_same_bots(post: Post) -> None:
    await post.submit(draft("1"))
    claim = await post.one()
    with pytest.raises(InvalidMessage, match="cluster"):
        await post.settle(claim, follow_ups=(draft("2", bot=2),))
    assert await post.settle(claim, follow_ups=(draft("2", bot=BOT),))
    assert ids(await post.claim()) == ["2"]


@pytest.mark.parametrize("option", ["wait_aof", "wait_replicas"])
async def test_waiting_for_disk_or_replicas_is_not_for_clusters(cluster: RedisServer, option: str) -> None:
    with pytest.raises(InvalidSetting, match="cluster"):
        await RedisStore(f"{cluster.url}?{option}=1").open()
