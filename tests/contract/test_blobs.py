"""Files kept in the store itself (`ports.BlobStore`), by the stores that several machines share, or in a bucket."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kurir.stores.s3 import S3Blobs
from tests.buckets import ENVIRONMENT, shared_bucket

from .stores import OTHERS, STORES, Place

SERVERS = [name for name in (*STORES, *OTHERS) if name.startswith(("postgres", "redis", "valkey"))]


@pytest.fixture(params=[*SERVERS, "s3"])
def common(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "s3":
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        url = shared_bucket().fresh()
        yield lambda: S3Blobs(url, fresh=0.0)
        return
    with (STORES | OTHERS)[request.param](tmp_path) as place:
        yield place


@pytest.fixture
async def store(common: Place) -> AsyncIterator[Any]:
    store = common()
    await store.open()
    yield store
    await store.close()


def a_file(folder: Path, content: bytes) -> tuple[str, Path]:
    path = folder / "source"
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest(), path


async def got(store: Any, sha256: str, folder: Path) -> bytes | None:
    path = folder / "target"
    return path.read_bytes() if await store.get_blob(sha256, path) else None


@pytest.mark.parametrize("size", [1, 512 * 1024, 512 * 1024 + 1, 5 << 20, 11_000_000])
async def test_what_is_put_is_got_back(store: Any, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    sha256, path = a_file(tmp_path, content)
    await store.put_blob(sha256, path, 100.0)
    assert await got(store, sha256, tmp_path) == content


async def test_another_handle_sees_it(common: Place, store: Any, tmp_path: Path) -> None:
    sha256, path = a_file(tmp_path, b"content")
    await store.put_blob(sha256, path, 100.0)
    other: Any = common()
    await other.open()
    try:
        assert await got(other, sha256, tmp_path) == b"content"
    finally:
        await other.close()


async def test_one_that_is_not_there_is_told(store: Any, tmp_path: Path) -> None:
    assert await got(store, "0" * 64, tmp_path) is None


async def test_one_that_was_used_lately_is_not_dropped(store: Any, tmp_path: Path) -> None:
    sha256, path = a_file(tmp_path, b"content")
    await store.put_blob(sha256, path, 100.0)
    await store.put_blob(sha256, path, 200.0)
    await store.put_blob(sha256, path, 150.0)
    assert await store.drop_blobs([sha256], 200.0) == 0
    assert await got(store, sha256, tmp_path) == b"content"
    assert await store.drop_blobs([sha256], 201.0) == 1
    assert await got(store, sha256, tmp_path) is None
    assert await store.drop_blobs([sha256], 201.0) == 0


async def test_one_that_was_dropped_can_be_put_again(store: Any, tmp_path: Path) -> None:
    sha256, path = a_file(tmp_path, b"content")
    for at in (100.0, 200.0):
        await store.put_blob(sha256, path, at)
        assert await got(store, sha256, tmp_path) == b"content"
        assert await store.drop_blobs([sha256], 1000.0) == 1


async def test_those_unused_for_long_are_told(store: Any, tmp_path: Path) -> None:
    files = {}
    for at in (100.0, 200.0, 300.0):
        sha256, path = a_file(tmp_path, str(at).encode())
        await store.put_blob(sha256, path, at)
        files[at] = sha256
    assert await store.blobs(300.0) == [files[100.0], files[200.0]]
    assert await store.blobs(100.0) == []
    await store.drop_blobs([files[100.0]], 1000.0)
    assert await store.blobs(1000.0) == [files[200.0], files[300.0]]


async def test_one_that_is_put_by_many_at_once_is_there_once(common: Place, tmp_path: Path) -> None:
    content = os.urandom(2_000_000)
    sha256, path = a_file(tmp_path, content)
    stores: list[Any] = [common() for _ in range(3)]
    for store in stores:
        await store.open()
    try:
        await asyncio.gather(*(store.put_blob(sha256, path, 100.0) for store in stores for _ in range(2)))
        assert await got(stores[0], sha256, tmp_path) == content
        assert await stores[0].blobs(1000.0) == [sha256]
        assert await stores[0].drop_blobs([sha256], 1000.0) == 1
    finally:
        for store in stores:
            await store.close()


async def test_one_that_was_never_finished_is_not_there_and_is_swept(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote it died after the first pieces."""
    sha256, path = a_file(tmp_path, os.urandom(11_000_000))

    with monkeypatch.context() as m:
        m.setattr("asyncio.to_thread", dies_after(2))
        with pytest.raises(RuntimeError):
            await store.put_blob(sha256, path, 100.0)
    assert await got(store, sha256, tmp_path) is None
    assert await store.blobs(1000.0) == []
    await store.drop_blobs([], 100_000.0)
    await store.put_blob(sha256, path, 200_000.0)
    assert await got(store, sha256, tmp_path) == path.read_bytes()


def dies_after(pieces: int) -> Any:
    """A stand-in for `asyncio.to_thread` that reads so many pieces of a file and then raises."""
    left = iter(range(pieces))

    async def to_thread(read: Any, *args: Any) -> Any:
        if next(left, None) is None:
            raise RuntimeError("killed")
        return read(*args)

    return to_thread


async def test_fifty_megabytes_pass_with_little_memory(store: Any, tmp_path: Path) -> None:
    path = tmp_path / "large"
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(50):
            piece = os.urandom(1 << 20)
            digest.update(piece)
            file.write(piece)
    tracemalloc.start()
    try:
        await store.put_blob(digest.hexdigest(), path, 100.0)
        assert await store.get_blob(digest.hexdigest(), tmp_path / "back")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"peak {peak / 1e6:.1f} MB")
    assert peak < 10_000_000
    with (tmp_path / "back").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()
