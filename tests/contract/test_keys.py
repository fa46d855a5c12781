"""What a store promises of API keys."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from kurir.core.errors import StoreError
from kurir.ports import ApiKey, KeyStore

from .steps import T
from .stores import Place


def key(id: str = "k_1", *, at: float = 0.0, role: str = "send") -> ApiKey:
    return ApiKey(id, f"the key {id}", role, hashlib.sha256(f"secret of {id}".encode()).digest(), T + at)


async def test_no_keys_at_first(store: KeyStore) -> None:
    assert await store.keys() == []


async def test_everything_of_a_key_is_kept(store: KeyStore) -> None:
    given = [key("k_1", role="admin"), key("k_2", at=1, role="send"), replace(key("k_3", at=2), revoked_at=T + 3)]
    for one in given:
        await store.add_key(one)
    assert await store.keys() == given


async def test_keys_come_oldest_first(store: KeyStore) -> None:
    for n, at in enumerate((5, 1, 3, 3)):
        await store.add_key(key(f"k_{n}", at=at))
    assert [kept.id for kept in await store.keys()] == ["k_1", "k_2", "k_3", "k_0"]


async def test_a_revoked_key_stays_on_the_list(store: KeyStore) -> None:
    await store.add_key(key())
    assert await store.revoke_key("k_1", T + 9) is True
    assert await store.keys() == [replace(key(), revoked_at=T + 9)]


async def test_a_key_is_revoked_once(store: KeyStore) -> None:
    await store.add_key(key())
    await store.revoke_key("k_1", T + 9)
    assert await store.revoke_key("k_1", T + 20) is False
    assert [kept.revoked_at for kept in await store.keys()] == [T + 9]


async def test_a_key_that_is_not_there_cannot_be_revoked(store: KeyStore) -> None:
    await store.add_key(key())
    assert await store.revoke_key("k_2", T) is False
    assert await store.keys() == [key()]


@pytest.mark.parametrize(
    "other", [replace(key("k_2"), id="k_1"), replace(key("k_1"), id="k_2")], ids=["same id", "same secret"]
)
async def test_a_key_is_nobody_else_s(store: KeyStore, other: ApiKey) -> None:
    await store.add_key(key())
    with pytest.raises(StoreError, match="exists already"):
        await store.add_key(other)
    assert await store.keys() == [key()]


async def test_a_key_is_not_shown_with_its_digest(store: KeyStore) -> None:
    await store.add_key(key())
    assert "digest" not in repr(await store.keys())


async def test_keys_are_seen_by_who_opens_the_store_later(place: Place) -> None:
    first = place()
    await first.open()
    await first.add_key(key())
    await first.add_key(key("k_2"))
    await first.revoke_key("k_2", T)
    await first.close()
    second = place()
    await second.open()
    assert await second.keys() == [key(), replace(key("k_2"), revoked_at=T)]
    await second.close()
