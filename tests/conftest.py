"""For all tests: servers of this process' own, started when a test first asks for them; and what Hypothesis tries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from .servers import Engine, PostgresServer, RedisServer, first_postgres, first_redis, shared
from .soak import sized

# A run tells what changed in the code, not in the dice: the same examples each time. A soak looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", print_blob=True)
settings.load_profile(sized("same", "explore"))


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes to this user's cache, nor does a process that it starts."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """Shared by the tests of a process: neither stop nor configure it (`servers.PostgresServer` makes others)."""
    server = shared(first_postgres())
    assert isinstance(server, PostgresServer)
    return server


@pytest.fixture(scope="session")
def redis_server() -> RedisServer:
    """Shared by the tests of a process: neither stop nor configure it (`servers.RedisServer` makes others)."""
    server = shared(first_redis())
    assert isinstance(server, RedisServer)
    return server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A store of the test's own on PostgreSQL; its schema goes with the test."""
    with postgres_server.fresh() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """A store of the test's own on Redis; its keys go with the test."""
    with redis_server.fresh() as url:
        yield url


@pytest.fixture(params=["postgres", "redis"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each kind of server in turn; `servers.private(engine)` makes one to be killed."""
    return first_postgres() if request.param == "postgres" else first_redis()


@pytest.fixture
def server_url(engine: Engine) -> Iterator[str]:
    """A store of the test's own, on each kind of server in turn."""
    with shared(engine).fresh() as url:
        yield url
