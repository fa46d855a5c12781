"""The Redis store through sentinels: it finds the master, and goes along when they choose another."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import redis

from kurir.core.errors import InvalidSetting, StoreAway, StoreError
from kurir.ports import Query
from kurir.stores import breaker
from kurir.stores.redis import RedisStore, link, sentinels
from kurir.stores.redis.address import parse
from kurir.stores.redis.people import People
from tests.crash.proxy import Proxy
from tests.sentinels import SERVICE, SentinelServer, family
from tests.servers import Engine, RedisServer, redis_engines
from tests.serving import free_port

from .steps import Post, T, draft
from .test_keys import key
from .test_prune import file

A = TypeVar("A")
PATIENCE = 20.0  # seconds
GOES_ON = 8.0  # seconds from a promotion until the store works again, at most
PASSWORDS = ("s3rver-pass", "s3ntinel-pass")
NEW = redis_engines()[-1]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, own_clock=False)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def insist(call: Callable[[], Awaitable[A]], seconds: float = PATIENCE) -> A:
    """As a courier does while the store is away."""
    end = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except StoreAway:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


# ---------------------------------------------------------------- the way there


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[RedisServer, SentinelServer]]:
    """A master and its sentinel, each with a password."""
    server, sentinel = PASSWORDS
    with RedisServer() as master:
        with master.client() as client:
            client.config_set("requirepass", server)
        options = (f"sentinel auth-pass {SERVICE} {server}", f"requirepass {sentinel}")
        with SentinelServer(master, options=options) as watching:
            yield master, watching


async def test_the_master_is_found_through_the_first_sentinel_that_answers(
    guarded: tuple[RedisServer, SentinelServer],
) -> None:
    master, sentinel = guarded
    server_pass, sentinel_pass = PASSWORDS
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}"
    url = f"redis+sentinel://:{server_pass}@{hosts}/{SERVICE}/3?sentinel_password={sentinel_pass}&prefix=there"
    async with opened(url) as store:
        post = Post(store)
        await post.take()
        await post.submit(draft("1"))
        assert await post.drain() == ["1"]
    with redis.Redis(port=master.port, password=server_pass) as client:
        assert client.info("keyspace")["db3"]["keys"] > 0


@pytest.mark.parametrize(
    ("user", "service", "sentinel_pass", "said", "remedy"),
    [
        (f":{PASSWORDS[0]}@", "post", PASSWORDS[1], "know no service 'post'", "sentinel monitor"),
        (f":{PASSWORDS[0]}@", SERVICE, "wr0ng", "sentinels do not allow it", "sentinel_password"),
        (f":{PASSWORDS[0]}@", SERVICE, None, "sentinels do not allow it", "sentinel_password"),
        (":wr0ng@", SERVICE, PASSWORDS[1], "does not allow it", "password in KURIR_STORE"),
    ],
)
async def test_what_is_wrong_with_the_url_is_said_without_a_password(
    guarded: tuple[RedisServer, SentinelServer],
    user: str, service: str, sentinel_pass: str | None, said: str, remedy: str,
) -> None:  # fmt: skip
    own = f"?sentinel_password={sentinel_pass}" if sentinel_pass else ""
    with pytest.raises(StoreError) as refusal:
        await RedisStore(f"redis+sentinel://{user}127.0.0.1:{guarded[1].port}/{service}{own}").open()
    told = f"{refusal.value!r} {refusal.value}"
    assert said in told
    assert remedy in refusal.value.remedy
    assert f"redis+sentinel://127.0.0.1:{guarded[1].port}/{service}" in told
    assert not isinstance(refusal.value, StoreAway)  # waiting would not help
    for secret in (*PASSWORDS, "wr0ng"):
        assert secret not in told


async def test_sentinels_that_do_not_answer_are_named() -> None:
    ports = [free_port(), free_port()]
    with pytest.raises(StoreAway) as away:
        await RedisStore(f"redis+sentinel://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/{SERVICE}").open()
    assert "none of its sentinels answers" in away.value.what
    for port in ports:
        assert f"127.0.0.1:{port} (" in away.value.what
    assert "can be reached" in away.value.remedy


async def test_an_option_that_nobody_knows_is_refused(guarded: tuple[RedisServer, SentinelServer]) -> None:
    url = f"{guarded[1].url}?sentinel_password={PASSWORDS[1]}&colour=red"
    with pytest.raises(InvalidSetting, match="colour"):
        await RedisStore(url).open()


async def test_a_sentinel_that_slept_through_a_failover_leads_nobody_to_the_old_master() -> None:
    with RedisServer() as old, RedisServer() as new, SentinelServer(old) as late, SentinelServer(new, epoch=7) as knows:
        url = f"redis+sentinel://127.0.0.1:{late.port},127.0.0.1:{knows.port}/{SERVICE}"
        async with opened(url) as store:
            await store.submit([draft("1")], T)
        with old.client() as before, new.client() as after:
            assert before.dbsize() == 0
            assert after.dbsize() > 0


async def test_what_a_sentinel_told_of_a_failover_counts_while_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinels, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(link, "PAUSES", ())
    with RedisServer() as old, RedisServer() as new, SentinelServer(old) as late, SentinelServer(new, epoch=7) as knows:
        url = f"redis+sentinel://127.0.0.1:{late.port},127.0.0.1:{knows.port}/{SERVICE}"
        async with opened(url) as store:
            await store.submit([draft("1")], T)
            knows.pause()
            with pytest.raises(StoreAway, match="not heard of the last failover") as away:
                await reconnecting(new, lambda: store.submit([draft("2")], T))
            assert f"127.0.0.1:{late.port}" in away.value.what
            knows.resume()
            await insist(lambda: store.submit([draft("2")], T))
            assert {row.id for row in (await store.find(Query())).items} == {"1", "2"}
        with old.client() as before:
            assert before.dbsize() == 0


async def test_a_sentinel_that_is_far_away_is_heard_before_anything_is_written() -> None:
    with RedisServer() as old, RedisServer() as new, SentinelServer(old) as late, SentinelServer(new, epoch=7) as knows:
        async with Proxy(knows.port, delay=0.08) as far:
            store = RedisStore(f"redis+sentinel://127.0.0.1:{late.port},127.0.0.1:{far.port}/{SERVICE}")
            await store.open()
            await store.submit([draft("1")], T)
            await store.close()
        with old.client() as before, new.client() as after:
            assert before.dbsize() == 0
            assert after.dbsize() > 0


async def test_during_an_orderly_failover_nobody_is_led_to_the_master_that_steps_down() -> None:
    """A sentinel counts the failover before it tells the new address."""
    with family() as servers:
        watched = parse(servers.url).watched
        assert watched is not None
        asked = sentinels.Sentinels(watched, protocol=2)
        assert (await asked.discover_master(SERVICE))[1] == servers.master.port
        with servers.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        found = None
        async with asyncio.timeout(PATIENCE):
            while found is None:
                await asyncio.sleep(sentinels.FRESH_SECONDS)
                with contextlib.suppress(sentinels.NoMaster):
                    found = await asked.discover_master(SERVICE)
        await asked.close()
        assert found[1] == servers.replicas[0].port


async def test_one_sentinel_is_enough_when_the_others_are_dead_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinels, "ANSWER_SECONDS", 0.2)
    with RedisServer() as master, SentinelServer(master) as well, SentinelServer(master) as hangs:
        hangs.pause()
        hosts = ",".join(f"127.0.0.1:{port}" for port in (free_port(), hangs.port, well.port))
        async with opened(f"redis+sentinel://{hosts}/{SERVICE}") as store:
            await store.submit([draft("1")], T)
        hangs.resume()


async def test_sentinels_that_were_set_up_anew_are_believed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """They count failovers from zero again."""
    monkeypatch.setattr(sentinels, "DENIED_SECONDS", 0.5)
    monkeypatch.setattr(link, "PAUSES", ())
    with RedisServer() as master, SentinelServer(master, epoch=7) as sentinel:
        async with opened(sentinel.url) as store:
            await store.submit([draft("1")], T)
            with sentinel.client() as client:
                client.execute_command("SENTINEL", "REMOVE", SERVICE)
                client.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", master.port, 1)
            with pytest.raises(StoreAway, match="not heard of the last failover"):
                await reconnecting(master, lambda: store.submit([draft("2")], T))
            await insist(lambda: store.submit([draft("2")], T))


async def reconnecting(server: RedisServer, call: Callable[[], Awaitable[object]]) -> None:
    """The server hangs up again and again: raises what the sentinels' words come to."""
    end = time.monotonic() + PATIENCE
    with server.client() as client:
        while time.monotonic() < end:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            try:
                await call()
            except StoreAway as away:
                if "not heard" in away.what:
                    raise
            await asyncio.sleep(0.02)


# ---------------------------------------------------------------- the URL


def test_the_parts_of_the_url() -> None:
    address = parse(
        "rediss+sentinel://ann:p%40ss@one:1,two,[::1]:3/mail/2?pool=3&sentinel_username=bob&sentinel_password=x"
    )
    assert address.watched is not None
    assert address.watched.sentinels == (("one", 1), ("two", 26379), ("::1", 3))
    assert (address.watched.service, address.watched.username, address.watched.password) == ("mail", "bob", "x")
    assert address.url == "rediss://ann:p%40ss@sentinel/2?"
    assert (address.shown, address.pool) == ("rediss+sentinel://one:1,two,[::1]:3/mail/2", 3)
    assert "p%40ss" not in repr(address)
    assert "'x'" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://s3cret@",
        "redis+sentinel://:s3cret@host",
        "redis+sentinel://:s3cret@host/",
        "redis+sentinel://:s3cret@host/mail/first",
        "redis+sentinel://:s3cret@host,/mail",
        "redis+sentinel://:s3cret@host:99999/mail",
        "redis+sentinel://:s3/cret@host/mail",
        "redis+sentinel://:s3?cret@host/mail",
        "redis+sentinel://:s3#cret@host/mail",
        "redis+sentinel://host/mail?sentinel_password=s3@cret",
        "redis+sentinel://:s3cret@host/mail?wait_replicas=-1",
    ],
)
def test_an_url_that_cannot_be_is_refused_and_no_password_shown(url: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        RedisStore(url)
    assert refusal.value.remedy
    for secret in ("s3", "cret"):
        assert secret not in f"{refusal.value!r} {refusal.value}".replace("secret", "")


# ---------------------------------------------------------------- failover


async def test_when_the_master_hangs_calls_and_listeners_move_to_the_new_one() -> None:
    """It neither answers nor closes: who waits for it is told by the sentinels."""
    with family() as servers:
        async with opened(servers.url) as store, opened(servers.url) as other:
            await store.submit([draft("1")], T)
            await other.watch(0.2)  # it listens from here on
            servers.master.pause()
            asked = asyncio.create_task(insist(lambda: store.submit([draft("2")], T)))
            await asyncio.to_thread(servers.promoted)
            async with asyncio.timeout(GOES_ON):
                await asked
                assert {row.id for row in (await insist(lambda: other.find(Query()))).items} == {"1", "2"}
                await _heard(other, store)
            servers.master.resume()


async def _heard(listener: RedisStore, speaker: RedisStore) -> None:
    """What one hands over wakes the other."""
    for n in range(100):
        watching = asyncio.create_task(listener.watch(60))
        await asyncio.sleep(0.1)
        if watching.done():  # it has just begun to listen anew
            continue
        await speaker.submit([draft(f"said-{n}")], T)
        done, _ = await asyncio.wait([watching], timeout=0.5)
        if done:
            return
        watching.cancel()
    pytest.fail("nothing is heard")


async def test_the_new_masters_settings_count_and_one_that_removes_keys_is_not_used() -> None:
    unfit = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru", "appendfsync": "everysec"}
    with family(appendfsync="always", of_replicas=unfit) as servers:
        async with opened(servers.url) as store:
            assert "(appendfsync always)" in (await store.stats()).store["durability"]
            await store.submit([draft("1")], T)
            servers.master.kill()
            new = await asyncio.to_thread(servers.promoted)
            async with asyncio.timeout(GOES_ON):
                while store.link.unfit is None:
                    with pytest.raises(StoreAway):  # not before it was looked at, either
                        await store.submit([draft("early")], T)
            with pytest.raises(StoreAway, match="allkeys-lru") as away:
                await store.submit([draft("2")], T)
            assert "noeviction" in away.value.remedy
            with new.client() as client:
                client.config_set("maxmemory-policy", "noeviction")
            await insist(lambda: store.submit([draft("2")], T))
            about = (await store.stats()).store
            assert "(appendfsync everysec)" in about["durability"]
            assert any("appendfsync always" in text for text in about["warnings"])
            assert {row.id for row in (await store.find(Query())).items} == {"1", "2"}


# ---------------------------------------------------------------- wait_replicas


@pytest.mark.parametrize("engine", redis_engines()[-1:], ids=lambda engine: engine.name)
async def test_with_wait_replicas_nothing_counts_that_no_replica_has(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor when it is asked once more, and the server has done it already."""
    monkeypatch.setattr(link, "PAUSES", ())
    monkeypatch.setattr(breaker, "OPENS_AFTER", 100)
    with family(engine, sentinels=0) as servers:
        async with opened(f"{servers.master.url}?wait_replicas=1&timeout=0.6") as store:
            await store.add_key(key())
            message = draft("1", key="k", digest=b"1")
            servers.replicas[0].pause()
            for _ in range(2):
                with pytest.raises(StoreAway, match=r"0 of 1 replicas|Timeout"):
                    await store.revoke_key("k_1", T)
            with pytest.raises(StoreAway, match=r"0 of 1 replicas|Timeout"):
                await store.submit([message], T)
            with pytest.raises(StoreAway, match=r"0 of 1 replicas|Timeout"):
                await store.mark("moving")
            servers.replicas[0].resume()
            assert await insist(lambda: store.revoke_key("k_1", T))
            assert [accepted.id for accepted in await store.submit([message], T)] == ["1"]
            assert len((await store.find(Query())).items) == 1
            about = (await store.stats()).store
            assert about["durability"].endswith("has reached 1 replica too (wait_replicas): a failover costs nothing.")
            assert not any("failover" in text for text in about["warnings"])


async def test_what_wait_replicas_lacks_is_warned_of() -> None:
    with RedisServer(NEW, appendfsync="always") as server:
        async with opened(f"{server.url}?wait_replicas=2") as store:
            about = (await store.stats()).store
    [warning] = about["warnings"]
    assert "has 0 replicas and wait_replicas=2" in warning


@pytest.mark.parametrize("engine", redis_engines(), ids=lambda engine: engine.name)
async def test_a_full_server_takes_with_wait_replicas_what_it_takes_without(engine: Engine) -> None:
    with family(engine, sentinels=0) as servers:
        async with opened(f"{servers.master.url}?wait_replicas=1") as store:
            post = Post(store)
            await post.take()
            await post.submit(draft("1"))
            claim = await post.one()
            with servers.master.client() as client:
                client.config_set("maxmemory", 1)
            assert await post.settle(claim, at=1)


# ---------------------------------------------------------------- files' names


async def test_a_prune_that_broke_off_leaves_no_name_of_a_file_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer() as server:
        async with opened(server.url) as store:
            post, photo = Post(store), file("ab" * 32)
            await post.take()
            await post.submit(draft("1", files=(photo,)))
            await post.settle(await post.one(), file_ids=((photo.sha256, "photo", "AgAC"),))

            async def breaks(*_: object) -> None:
                raise StoreAway("away", "wait")

            with monkeypatch.context() as patch:
                patch.setattr(People, "_unused", breaks)
                with pytest.raises(StoreAway):
                    await store.prune(T + 1, T + 1)
            assert (await store.prune(T + 1, T + 2)).orphan_files == (photo.sha256,)
            await post.submit(draft("2", files=(photo,)), at=3)
            assert not (await post.one(3)).file_ids
