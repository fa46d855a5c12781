"""From KURIR_STORE to a store: what is known, what is missing, and no password in what is said about either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kurir.app import Kurir, open_store
from kurir.core.errors import InvalidSetting
from kurir.stores.memory import MemoryStore
from kurir.stores.sqlite import SqliteStore
from kurir.stores.urls import is_server, sqlite_path

TOKEN = "123456:AAEabcdefghijklmnopqrstuvwxyz"


def test_a_file_and_memory_need_no_library() -> None:
    store = open_store("sqlite:///some/kurir.db")
    assert isinstance(store, SqliteStore)
    assert store.path == Path("some/kurir.db")
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://me:secret@host/db", "PostgresStore"),
        ("postgres://host/db", "PostgresStore"),
        ("redis://:secret@host:6379/0", "RedisStore"),
        ("rediss://host", "RedisStore"),
        ("unix:///run/redis.sock", "RedisStore"),
        ("redis+sentinel://:secret@host:26379,host2:26379/mail/0", "RedisStore"),
        ("rediss+sentinel://host/mail", "RedisStore"),
    ],
)
def test_a_server_is_known_by_its_scheme(url: str, name: str) -> None:
    assert type(open_store(url)).__name__ == name
    assert is_server(url)


@pytest.mark.parametrize("url", ["sqlite:///kurir.db", "memory://"])
def test_what_lives_in_one_machine_is_no_server(url: str) -> None:
    assert not is_server(url)


def test_the_file_of_a_url() -> None:
    assert sqlite_path("sqlite:////abs/kurir.db") == Path("/abs/kurir.db")
    assert sqlite_path("redis://host") is None


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@host/db",
        "secret@host",
        "me:secret@host://x",
        "sqlite://secret",
        "sqlite:///",
        "sqlite:///secret/",
        "redis:secret",
        "redis://",
        "memory://secret",
        "",
    ],
)
def test_an_unknown_one_is_refused_with_all_that_are_known_and_without_its_password(url: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        open_store(url)
    said = str(caught.value)
    assert "secret" not in said
    for known in ("sqlite:///", "postgresql://", "redis://", "rediss://", "unix://", "redis+sentinel://", "memory://"):
        assert known in said


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("postgresql://me:secret@host/db", "asyncpg", "postgres"),
        ("redis://:secret@host", "redis", "redis"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(url: str, library: str, extra: str) -> None:
    """In a process where the library cannot be imported, as if it were not installed."""
    program = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {library!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from kurir.app import open_store\n"
        "from kurir.core.errors import InvalidSetting\n"
        "try:\n"
        f"    open_store({url!r})\n"
        "except InvalidSetting as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert f"pip install 'kurir[{extra}]'" in said.stdout
    assert library in said.stdout
    assert "secret" not in said.stdout


def test_no_library_of_a_server_is_imported_unless_asked_for() -> None:
    program = "import sys, kurir.cli.main, kurir.app; print([m for m in ('asyncpg', 'redis') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.strip() == "[]"


async def test_kurir_lives_by_the_time_of_a_store_that_keeps_it() -> None:
    class Shared(MemoryStore):
        clock = object()

    async with Kurir(Shared(), token=TOKEN, courier=False) as kurir:  # type: ignore[arg-type]
        assert kurir.clock is Shared.clock
    async with Kurir(MemoryStore(), token=TOKEN, courier=False) as kurir:
        assert kurir.clock is not Shared.clock
