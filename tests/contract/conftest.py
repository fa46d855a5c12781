"""`place`: a store of each kind, not open. `store`: an open handle on it. `post`: the same with bot 1 leased and shorthand
for the verbs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kurir.ports import Store

from .steps import Post
from .stores import OTHERS, STORES, Place, stores_for


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        names = stores_for(metafunc.module.__name__.rpartition(".")[2])
        metafunc.parametrize("place", names, indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with (STORES | OTHERS)[request.param](tmp_path) as place:
        yield place


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    store = place()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def post(store: Store) -> Post:
    post = Post(store)
    await post.take()
    return post
