"""Several workers on one store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kurir.simulator.harness import Telegram
from tests.servers import first_postgres, first_redis, shared

from .fleet import Fleet, Pace

Gather = Callable[[Sequence[int], Pace], Awaitable[Fleet]]


@pytest.fixture(params=["postgres", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store of the test's own, on each kind of server in turn; on a file where the test asks for that too."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'kurir.db'}"
        return
    with shared(first_postgres() if request.param == "postgres" else first_redis()).fresh() as url:
        yield url


@pytest.fixture
async def gather(store_url: str, telegram: Telegram) -> AsyncIterator[Gather]:
    """`await gather(bots, pace)`: a fleet, without workers yet."""
    async with AsyncExitStack() as stack:

        async def gathered(bots: Sequence[int], pace: Pace) -> Fleet:
            fleet = Fleet(store_url, telegram, bots, pace)
            await stack.enter_async_context(fleet.hand_over)
            stack.push_async_callback(fleet.close)
            return fleet

        yield gathered
