"""What the Redis store promises of its server: what it takes there, what it refuses, and what it says of durability."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from redis import exceptions as errors

from kurir.core.errors import InvalidSetting, SchemaMismatch, StoreAway, StoreError, StoreFull
from kurir.core.ids import make_id
from kurir.core.message import Draft, Priority, State
from kurir.ports import Cancel, LaneQuery, Query
from kurir.stores.redis import RedisStore
from kurir.stores.redis.troubles import translate
from tests.servers import Engine, RedisServer, first_redis, redis_engines, shared

from .steps import BOT, Post, T, call, draft, ids


@contextmanager
def served(engine: Engine | None = None, **options: str) -> Iterator[RedisServer]:
    """A server of its own, the newest there is, set up so. (`_` is `-`.)"""
    with RedisServer(
        engine or redis_engines()[-1], options={name.replace("_", "-"): value for name, value in options.items()}
    ) as server:
        yield server


@asynccontextmanager
async def opened(url: str, *, own_clock: bool = False) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, own_clock=own_clock)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store() -> AsyncIterator[RedisStore]:
    with shared(first_redis()).fresh() as url:
        async with opened(url) as store:
            yield store


async def told(url: str) -> tuple[str, list[str]]:
    """What the store says of durability, and what it warns of."""
    async with opened(url) as store:
        about = (await store.stats()).store
    return about["durability"], about["warnings"]


# ---------------------------------------------------------------- memory


def broadcast(n: int, *, lanes: int) -> list[Draft]:
    """Messages of 400 bytes as the outbox makes them."""
    rng = random.Random(1)
    params = b'{"chat_id":%d,"text":"' % 1_000_000_000
    params += b"x" * (398 - len(params)) + b'"}'
    assert len(params) == 400
    return [
        Draft(
            make_id(T + i / 1000, rng.getrandbits(70)), 123456789, str(1_000_000_000 + i % lanes), "sendMessage", params,
            T + i / 1000 + 0.123456, Priority.LOW,
        )
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize("engine", redis_engines(), ids=lambda engine: engine.name)
@pytest.mark.parametrize("lanes", [30_000, 1])
async def test_a_waiting_message_of_400_bytes_takes_1000_bytes_at_most(lanes: int, engine: Engine) -> None:
    with served(engine) as server:
        async with opened(server.url) as store:
            with server.client() as client:
                drafts = broadcast(30_000, lanes=lanes)
                await store.submit(drafts[:1000], T)
                await asyncio.sleep(0.1)
                before = client.info("memory")["used_memory"]
                for first in range(1000, len(drafts), 1000):
                    await store.submit(drafts[first : first + 1000], T)
                await asyncio.sleep(0.1)
                used = client.info("memory")["used_memory"] - before
    assert used / 29_000 <= 1000


async def test_nothing_is_left_of_what_was_purged(store: RedisStore) -> None:
    post = Post(store)
    await post.take()
    drafts = [
        draft(
            f"{n}",
            str(n % 7),
            due=n % 3 or None,
            key=f"k{n}",
            digest=b"1",
            target="5:editMessageText",
            expires_at=T + 99,
        )
        for n in range(50)
    ]
    await post.submit(*drafts)
    await post.drain(5)
    await store.prune(T + 1e6, T + 1e7)
    keys = await store.link.command("KEYS", f"{store.keyspace.prefix}:{{{BOT}}}:*")
    lasting = [key.decode() for key in keys if await store.link.command("TTL", key) == -1]
    assert sorted(key.rpartition("}:")[2] for key in lasting) == [
        "b",
        "h",
        "y",
        "yz",
    ]  # the bot, its last minute, its days


# ---------------------------------------------------------------- long lanes


async def test_a_suppression_ends_a_long_lane_in_steps_and_others_have_their_turns(store: RedisStore) -> None:
    post = Post(store)
    await post.take()
    for first in range(0, 5000, 1000):
        await post.submit(*(draft(f"m{n}", due=n % 2 * 50 or None) for n in range(first, first + 1000)))
    claim = await post.one()
    steps: list[str] = []
    run = store.link.run

    async def watched(name: str, *args: Any, **more: Any) -> Any:
        steps.append(name)
        return await run(name, *args, **more)

    store.link.run = watched  # type: ignore[method-assign]
    assert await post.settle(claim, State.DEAD, 4, reason="Forbidden", suppress="blocked")
    assert steps == ["settle", *["end_suppressed"] * 4]
    stats = await post.stats()
    assert (stats.waiting, stats.lanes, stats.dead) == (0, 0, 5000)
    assert (await post.record("m4999")).reason == "suppressed: blocked"


async def test_what_concerns_one_message_of_telegrams_may_be_much(store: RedisStore) -> None:
    """A thousand edits of one message that do not collapse cost what a thousand others cost."""
    post = Post(store)
    await post.take()
    for first in range(0, 5000, 1000):
        drafts = (
            draft(f"m{n}", method="editMessageText", target="5:editMessageText") for n in range(first, first + 1000)
        )
        async with asyncio.timeout(5):
            await post.submit(*drafts)
    async with asyncio.timeout(5):
        await store.suppress(BOT, "a", "blocked", T)
    assert (await post.stats()).dead == 5000


# ---------------------------------------------------------------- scripts


async def test_the_server_may_forget_the_scripts_at_any_time(store: RedisStore) -> None:
    post = Post(store)

    async def forget() -> None:
        await store.link.command("SCRIPT FLUSH")

    await post.take()
    await forget()
    await post.submit(draft("1"), draft("2"))
    await forget()
    claim = await post.one()
    await forget()
    assert await post.settle(claim)
    await forget()
    assert await store.alter(Query(states=(State.WAITING,)), Cancel(), T) == ["2"]
    await forget()
    assert [lane.waiting for lane in (await store.lanes(LaneQuery())).items] == [0]
    await forget()
    assert (await post.stats()).cancelled == 1
    await forget()
    assert (await store.prune(T + 1, T + 1)).messages == 2


# ---------------------------------------------------------------- durability


async def test_a_log_that_is_flushed_at_each_write_costs_nothing() -> None:
    with served(appendonly="yes", appendfsync="always") as server:
        durability, warnings = await told(server.url)
    assert durability.endswith("(appendfsync always): a crash or a loss of power costs nothing.")
    assert warnings == []


@pytest.mark.parametrize(
    ("options", "cost"),
    [
        ({"appendfsync": "everysec"}, "a loss of power there up to the last two seconds (appendfsync everysec)"),
        ({"appendfsync": "no"}, "a loss of power there up to half a minute (appendfsync no)"),
        ({"appendfsync": "always", "no_appendfsync_on_rewrite": "yes"}, "no-appendfsync-on-rewrite yes"),
        ({"appendonly": "no", "save": "3600 1 300 100"}, "all since the last, 1 hour or more"),
        ({"appendonly": "no", "save": ""}, "a crash or a restart of it costs everything"),
    ],
)
async def test_what_a_crash_can_cost_is_said_and_what_to_do(options: dict[str, str], cost: str) -> None:
    with served(**options) as server:
        durability, warnings = await told(server.url)
    assert cost in durability
    assert len(warnings) == 1
    assert warnings[0].startswith(durability)
    assert "Set appendonly yes, appendfsync always" in warnings[0]


async def test_a_server_that_hides_its_settings_is_said_to_hide_them() -> None:
    with served(appendonly="yes") as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "-config")
        durability, [warning] = await told(server.url)
    assert "the server does not tell" in durability
    assert warning.startswith(durability)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl"])
async def test_a_server_that_removes_keys_is_refused(policy: str) -> None:
    with served(maxmemory="100mb", maxmemory_policy=policy) as server, pytest.raises(InvalidSetting) as refusal:
        await RedisStore(server.url).open()
    assert policy in str(refusal.value)
    assert "noeviction" in refusal.value.remedy


async def test_a_policy_that_would_remove_keys_is_warned_of() -> None:
    with served(appendonly="yes", appendfsync="always", maxmemory_policy="allkeys-lru") as server:
        _, [warning] = await told(server.url)
    assert "allkeys-lru" in warning


async def test_with_wait_aof_what_is_accepted_is_on_disk_though_the_server_flushes_once_a_second() -> None:
    with served(appendonly="yes", appendfsync="everysec") as server:
        durability, warnings = await told(f"{server.url}?wait_aof=1")
        async with opened(f"{server.url}?wait_aof=1") as store:
            post = Post(store)
            await post.take()
            await post.submit(draft("1"))
            assert await post.drain() == ["1"]
    assert durability.endswith("(WAITAOF): a crash or a loss of power costs nothing.")
    assert warnings == []


async def test_wait_aof_without_a_log_is_refused() -> None:
    with served(appendonly="no") as server, pytest.raises(InvalidSetting, match="wait_aof"):
        await RedisStore(f"{server.url}?wait_aof=1").open()


async def test_the_figures_say_which_server_it_is(store: RedisStore) -> None:
    about = (await store.stats()).store
    engine = first_redis().name
    assert about["engine"].lower().replace(" ", "-") == engine
    assert (about["schema"], about["bytes"] > 100_000) == (1, True)
    await store.submit([draft("1")], T)
    assert (await store.stats()).store["commits"] > about["commits"]


# ---------------------------------------------------------------- no room


@pytest.mark.parametrize("engine", redis_engines(), ids=lambda engine: engine.name)
async def test_without_memory_a_submit_is_refused_whole_and_what_is_there_is_still_sent(engine: Engine) -> None:
    with served(engine, maxmemory="6mb") as server:
        async with opened(server.url) as store:
            post = Post(store)
            await post.take()
            kept, full = 0, None
            while full is None:
                try:
                    await post.submit(*(draft(f"{kept + n}", f"{kept + n}", params=b"x" * 2000) for n in range(50)))
                    kept += 50
                except StoreFull as error:
                    full = error
            assert "maxmemory" in full.remedy
            assert len((await store.find(Query(limit=1000, oldest_first=True))).items) == min(kept, 1000)
            assert (await post.stats()).waiting == kept
            await post.take(at=1)
            claims = (await post.claim(limit=20)).claims
            assert len(claims) == 20
            assert all([await post.settle(claim, at=2) for claim in claims])
            assert len(await store.alter(Query(ids=("30",)), Cancel(), T)) == 1
            assert (await store.prune(T + 9, T + 9)).messages == 21


# ---------------------------------------------------------------- addresses


async def test_a_socket_of_the_machine() -> None:
    server = shared(first_redis())
    with server.fresh() as url:
        prefix = url.partition("?")[2]
        async with opened(f"{server.socket_url}?{prefix}") as store:
            await store.submit([draft("1")], T)
            assert len((await store.find(Query())).items) == 1


async def test_users_and_passwords_may_have_any_sign() -> None:
    with served() as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "ann", "on", ">p@ss:w/rd", "~*", "&*", "+@all")
        host = server.url.partition("//")[2]
        async with opened(f"redis://ann:p%40ss%3Aw%2Frd@{host}") as store:
            await store.submit([draft("1")], T)


@pytest.mark.parametrize("sign", "/#?")
def test_an_url_whose_password_is_not_escaped_is_refused_and_not_shown(sign: str) -> None:
    for url in (
        f"redis://ann:s3{sign}cret@host:6379/0",
        f"rediss://:s3{sign}cret@host",
        f"unix://:s3{sign}cret@/socket",
    ):
        with pytest.raises(InvalidSetting) as refusal:
            RedisStore(url)
        for part in ("s3", "cret"):
            assert part not in f"{refusal.value!r} {refusal.value}"
        assert "%2F" in refusal.value.remedy


@pytest.mark.parametrize("user", ["ann:p%40ss-secret", ":s3cret-pass", "nobody:s3cret-pass"])
async def test_a_password_is_in_no_error(user: str) -> None:
    with served() as server:
        with server.client() as client:
            client.config_set("requirepass", "another")
        host = server.url.partition("//")[2]
        with pytest.raises(StoreError) as refusal:
            await RedisStore(f"redis://{user}@{host}").open()
    for secret in ("p%40ss-secret", "p@ss-secret", "s3cret-pass"):
        assert secret not in f"{refusal.value!r} {refusal.value}"
    assert "KURIR_STORE" in refusal.value.remedy


async def test_a_user_that_may_not_look_at_settings_or_publish_is_enough() -> None:
    with served() as server:
        with server.client() as client:
            rules = ("~kurir:*", "resetchannels", "+@all", "-config", "-publish")
            client.execute_command("ACL", "SETUSER", "ann", "on", ">pw", *rules)
        host = server.url.partition("//")[2]
        async with opened(f"redis://ann:pw@{host}") as store:
            post = Post(store)
            await post.take()
            await post.submit(draft("1"))
            assert await post.drain() == ["1"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost?prefix=a{b",
        "redis://localhost?timeout=soon",
        "redis://localhost?pool=0",
        "redis://localhost?wait_aof=yes",
        "http://localhost",
        "unix://",
    ],
)
def test_an_url_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        RedisStore(url)
    assert (refusal.value.field, bool(refusal.value.remedy)) == ("KURIR_STORE", True)


async def test_an_option_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="colour"):
        await RedisStore(f"{shared(first_redis()).url}?colour=red").open()


async def test_a_newer_schema_is_refused(store: RedisStore) -> None:
    await store.link.command("SET", store.keyspace.of_store("schema"), 2)
    url = f"{shared(first_redis()).url}?prefix={store.keyspace.prefix}"
    with pytest.raises(SchemaMismatch) as refusal:
        await RedisStore(url).open()
    assert "Upgrade" in refusal.value.remedy


# ---------------------------------------------------------------- time


async def test_leases_are_judged_by_the_servers_clock_however_wrong_the_callers_is() -> None:
    with shared(first_redis()).fresh() as url:
        async with opened(url, own_clock=True) as store:
            behind = store.clock.now() - 600
            [lease] = await store.lease("behind", [BOT], behind + 0.3, behind)
            assert lease.until == pytest.approx(store.clock.now() + 0.3, abs=0.25)
            ahead = store.clock.now() + 600
            assert await store.lease("ahead", [BOT], ahead + 30, ahead) == []
            await asyncio.sleep(0.4)
            [lease] = await store.lease("ahead", [BOT], ahead + 30, ahead)
            assert (lease.token, lease.holder) == (2, "ahead")
            await store.submit([draft("1")], behind)
            assert ids(await store.claim(lease, behind, 1)) == ["1"]


async def test_the_leases_of_a_store_that_closes_end() -> None:
    with shared(first_redis()).fresh() as url:
        async with opened(url) as first:
            await first.lease("first", [BOT, 2], T + 1000, T)
        async with opened(url) as second:
            assert len(await second.lease("second", [BOT, 2], T + 1000, T)) == 2


async def test_another_process_hears_of_a_change() -> None:
    with shared(first_redis()).fresh() as url:
        async with opened(url) as one, opened(url) as other:
            await other.watch(0.3)
            watching = asyncio.create_task(other.watch(60))
            await asyncio.sleep(0.05)
            await one.submit([draft("1")], T)
            await asyncio.wait_for(watching, 5)


async def test_an_attempt_of_another_minute_is_not_told() -> None:
    with shared(first_redis()).fresh() as url:
        async with opened(url) as store:
            post = Post(store)
            await post.take()
            await post.submit(draft("1"), draft("2", "b"))
            [one, two] = (await post.claim()).claims
            await post.settle(one, at=1, attempt=call(1))
            await post.settle(two, at=70, attempt=call(70))
            await post.leave(70)
            assert (await post.take("successor", at=71)).recent == (("b", T + 70),)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        (errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), StoreFull),
        (
            errors.ResponseError(
                "Error running script (call to f_0d1): @user_script:57: @user_script: 57: -OOM command not allowed"
            ),
            StoreFull,
        ),
        (errors.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), StoreFull),
        (errors.BusyLoadingError("Redis is loading the dataset in memory"), StoreAway),
        (errors.ReadOnlyError("You can't write against a read only replica."), StoreAway),
        (errors.ResponseError("Error running script: @user_script: 9: -READONLY You can't write"), StoreAway),
        (errors.ClusterDownError("The cluster is down"), StoreAway),
        (errors.MasterDownError("Link with MASTER is down"), StoreAway),
        (errors.ResponseError("NOREPLICAS Not enough good replicas to write."), StoreAway),
        (errors.ConnectionError("Connection closed by server."), StoreAway),
        (errors.TimeoutError("Timeout reading from socket"), StoreAway),
        (ConnectionResetError("reset"), StoreAway),
        (errors.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), StoreError),
    ],
)
def test_what_goes_wrong_with_the_server_is_said_in_our_words(error: Exception, meant: type[StoreError]) -> None:
    told = translate(error, "redis://host")
    assert type(told) is meant
    assert told.remedy
    assert "redis://host" in told.what
