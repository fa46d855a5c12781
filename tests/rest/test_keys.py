"""API keys: roles, refusals, revocation, rates, and the command that makes them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from kurir.core.errors import StoreAway
from kurir.core.pace import Rate
from kurir.ports import ApiKey, Clock, KeyStore
from kurir.simulator.harness import Telegram
from kurir.web import auth
from kurir.web.auth import Allowance, Bucket, Caller, Failures, Keyring, make_key

from .door import Door, is_problem, opened, text_to, until

EVERYTHING = [
    ("GET", "/v1/messages", "send read"),
    ("GET", "/v1/messages/{id}", "send read"),
    ("POST", "/v1/messages", "send"),
    ("POST", "/v1/files", "send"),
    ("POST", "/v1/messages/{id}/retry", ""),
    ("POST", "/v1/messages/{id}/cancel", ""),
    ("POST", "/v1/messages/retry", ""),
    ("POST", "/v1/messages/cancel", ""),
    ("POST", "/v1/messages/purge", ""),
    ("GET", "/v1/dead-letters", "read"),
    ("POST", "/v1/dead-letters/retry", ""),
    ("POST", "/v1/dead-letters/purge", ""),
    ("POST", "/v1/dead-letters/{id}/retry", ""),
    ("GET", "/v1/bots", "read"),
    ("GET", "/v1/bots/shop", "read"),
    ("POST", "/v1/bots/shop/pause", ""),
    ("POST", "/v1/bots/shop/resume", ""),
    ("GET", "/v1/chats", "read"),
    ("GET", "/v1/chats/42", "read"),
    ("POST", "/v1/chats/42/pause", ""),
    ("POST", "/v1/chats/42/resume", ""),
    ("POST", "/v1/chats/42/clear", ""),
    ("GET", "/v1/suppressions", "read"),
    ("POST", "/v1/suppressions", ""),
    ("DELETE", "/v1/suppressions/42", ""),
    ("GET", "/v1/stats", "read"),
    ("GET", "/v1/events?limit=1", "read"),
]


@pytest.mark.parametrize("role", ["send", "read"])
async def test_a_role_may_do_what_is_its_own_and_nothing_else(still: Door, role: str) -> None:
    theirs = await still.as_role(role)
    for verb, path, roles in EVERYTHING:
        got = await theirs.ask(verb, path.replace("{id}", "nobody"))
        if role in roles.split():
            assert got.status not in (401, 403), (verb, path, got.body)
        else:
            is_problem(got, 403, "not-allowed")


async def test_the_table_of_roles_is_complete(still: Door) -> None:
    served = {(operation.verb, operation.path): operation.roles for operation in still.rest.operations}
    told = {
        (verb, path.split("?")[0].replace("/shop", "/{bot}").replace("/42", "/{chat}")): {"admin", *roles.split()}
        for verb, path, roles in EVERYTHING
    }
    assert told == {where: set(roles) for where, roles in served.items() if roles}


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic YTpi", "bearer \udc80x"])
async def test_without_a_good_key_it_is_401(still: Door, header: str | None) -> None:
    nobody = still.with_key(None)
    more: dict[str, Any] = {} if header is None else {"headers": {"Authorization": header}}
    got = await nobody.ask("GET", "/v1/messages", **more)
    is_problem(got, 401, "no-key")
    assert got.headers["WWW-Authenticate"].startswith("Bearer")


async def test_without_any_key_it_says_how_to_make_one(telegram: Telegram, tmp_path: Path) -> None:
    async with opened(telegram, tmp_path, courier=False, api_key=None) as door:
        told = is_problem(await door.get("/v1/messages"), 401, "no-key")
        assert "kurir keys add" in told["remedy"]
        theirs = await door.as_role("admin")
        await until(lambda: _works(theirs), "a new key is known")


async def _works(door: Door) -> bool:
    return (await door.get("/v1/messages")).status == 200


async def test_a_revoked_key_opens_nothing_after_five_seconds(still: Door) -> None:
    key, secret = make_key("someone", "send", time.time())
    store = cast("KeyStore", still.kurir.store)
    await store.add_key(key)
    theirs = still.with_key(secret)
    assert (await theirs.post("/v1/messages", text_to())).status == 202
    assert await store.revoke_key(key.id, time.time())
    began = time.monotonic()
    while (await theirs.post("/v1/messages", text_to())).status == 202:
        assert time.monotonic() - began < 5.0
        await asyncio.sleep(0.05)
    is_problem(await theirs.post("/v1/messages", text_to()), 401, "no-key")


async def test_the_store_knows_no_secret(still: Door) -> None:
    key, secret = make_key("someone", "send", time.time())
    assert secret.startswith("kurir_")
    assert len(secret) >= 38
    await cast("KeyStore", still.kurir.store).add_key(key)
    assert (await still.with_key(secret).get("/v1/messages")).status == 200
    folder = Path.cwd()
    kept = b"".join(file.read_bytes() for file in folder.glob("kurir.db*") if file.is_file())
    assert key.digest in kept
    assert secret.encode() not in kept
    assert secret[6:].encode() not in kept


async def test_a_key_that_asks_too_often_waits(telegram: Telegram, tmp_path: Path) -> None:
    allowance = Allowance(rate=Rate(1), burst=10)
    async with opened(telegram, tmp_path, courier=False, allowance=allowance) as door:
        theirs, others = await door.as_role("read", "one"), await door.as_role("read", "two")
        codes = [(await theirs.get("/v1/messages")).status for _ in range(14)]
        assert codes[:10] == [200] * 10
        assert 429 in codes
        got = await theirs.get("/v1/messages")
        is_problem(got, 429, "too-many")
        assert int(got.headers["Retry-After"]) >= 1
        assert (await others.get("/v1/messages")).status == 200
        assert {(await door.get("/v1/messages")).status for _ in range(30)} == {200}


async def test_wrong_keys_run_into_a_wall_and_right_ones_do_not(still: Door) -> None:
    wrong = still.with_key("wrong")
    codes = [(await wrong.get("/v1/messages")).status for _ in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert int((await wrong.get("/v1/messages")).headers["Retry-After"]) <= 60
    assert (await still.get("/v1/messages")).status == 200


async def test_a_store_that_is_away_is_asked_for_keys_once_a_second() -> None:
    key, secret = make_key("someone", "read", 0.0)

    class Away:
        looks = 0
        away = False

        async def keys(self) -> list[ApiKey]:
            self.looks += 1
            if self.away:
                raise StoreAway("away", "wait")
            return [key]

    class Still:
        at = 100.0

        def now(self) -> float:
            return self.at

    store, clock = Away(), Still()
    ring = Keyring(cast("KeyStore", store), None, cast("Clock", clock), Allowance(rate=None))

    async def admitted() -> Caller:
        return await ring.admit(f"Bearer {secret}".encode(), "10.0.0.1", frozenset({"read"}))

    caller = await admitted()
    store.away, store.looks, clock.at = True, 0, 110.0
    for _ in range(10):
        await admitted()
        assert await ring.holds(caller)
    assert store.looks == 1
    clock.at = 111.1
    await admitted()
    assert store.looks == 2
    store.away, clock.at = False, 112.3
    key = replace(key, revoked_at=112.0)
    assert not await ring.holds(caller)


def test_wrong_keys_are_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MOST_ADDRESSES", 3)
    failures = Failures()
    for number in range(100):
        assert failures.note(f"10.0.0.{number}", 0.0) == 0
    assert len(failures._seen) == 3
    for _ in range(auth.FAILURES):
        failures.note("a", 0.0)
    assert failures.note("a", 1.0) == pytest.approx(59.0)
    assert failures.note("a", 61.0) == 0


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(Rate(10), 3)
    assert [bucket.wait(100.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
    assert bucket.wait(100.1) == 0
    assert bucket.wait(100.1) > 0
    assert bucket.wait(50.0) > 0  # a clock set back gives nothing
    assert Bucket(None, 1).wait(0) == 0


# ---------------------------------------------------------------- the command


def kurir(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kurir", "--store", "sqlite:///kurir.db", *args],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def test_the_command_makes_lists_and_revokes_keys(still: Door) -> None:
    made = kurir("keys", "add", "backend", "--role", "read", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert set(key) == {"id", "name", "role", "created_at", "revoked_at", "key"}
    assert (await still.with_key(key["key"]).get("/v1/stats")).status == 200
    plain = kurir("keys", "add", "shop")
    assert (await still.with_key(plain.stdout.strip()).post("/v1/messages", text_to())).status == 202
    listed = [json.loads(line) for line in kurir("keys", "list", "--json").stdout.splitlines()]
    assert [(one["name"], one["role"]) for one in listed] == [("backend", "read"), ("shop", "send")]
    assert "key" not in listed[0]
    table = kurir("keys", "list").stdout
    assert key["id"] in table
    assert key["key"] not in table
    assert json.loads(kurir("keys", "revoke", key["id"], "--json").stdout) == {"id": key["id"], "revoked": True}
    again = kurir("keys", "revoke", key["id"])
    assert again.returncode == 1
    assert "kurir keys list" in again.stderr
    assert kurir("keys", "add", "x", "--role", "god").returncode == 2
    assert kurir("keys", "add", " ").returncode == 1
