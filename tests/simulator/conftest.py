"""A manual clock, a world with one bot and open doors, and a short way to call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kurir.simulator import Limits, ManualClock, Response, World

from .helpers import TOKEN, Ask


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def world(clock: ManualClock) -> Iterator[World]:
    world = World(clock, limits=Limits.none(), open_doors=True)
    world.add_bot(TOKEN)
    yield world
    world.close()


@pytest.fixture
def ask(world: World) -> Ask:
    """`ask("sendMessage", chat_id=1, text="x")`; files as `files={"photo": b"..."}`."""

    def ask(method: str, /, token: str = TOKEN, files: dict[str, bytes] | None = None, **params: Any) -> Response:
        uploads = {name: world.files.keep(data, f"{name}.bin") for name, data in (files or {}).items()}
        return world.handle(token, method, params, uploads)

    return ask
