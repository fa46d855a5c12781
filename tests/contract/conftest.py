"""`store`: an open store of each kind. `post`: the same with bot 1 leased and shorthand for the verbs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kurir.ports import Store

from .steps import Post
from .stores import STORES


@pytest.fixture(params=sorted(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = STORES[request.param](tmp_path)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def post(store: Store) -> Post:
    post = Post(store)
    await post.take()
    return post
