"""The gateway, and for each library the story of a script that used it once for everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kurir.simulator.harness import Telegram

from . import npm
from .libraries import LIBRARIES, Library
from .scripts import NODE, python
from .serving import Gateway, gateway_to
from .stories import Story, play


@pytest.fixture
def gateway(telegram: Telegram, tmp_path: Path) -> Iterator[Gateway]:
    """What clients talk to instead of Telegram; behind it is `telegram`."""
    with gateway_to(telegram, tmp_path) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def node() -> str:
    """Path of a Node whose scripts in `node/` find their libraries."""
    return npm.installed()


@pytest.fixture(scope="module", params=LIBRARIES, ids=str)
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A library that is answered with what Telegram says; played once for all tests of a module."""
    library: Library = request.param
    with Telegram() as telegram:
        yield play(library, _command(library, request), telegram, tmp_path_factory.mktemp(library.script))


@pytest.fixture(scope="module", params=LIBRARIES, ids=str)
def hurried_story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A library that is answered at once, with placeholders, while Telegram takes its time."""
    library: Library = request.param
    with Telegram() as telegram:
        folder = tmp_path_factory.mktemp(library.script)
        yield play(library, _command(library, request), telegram, folder, hurried=True)


def _command(library: Library, request: pytest.FixtureRequest) -> list[str]:
    if library.node:
        return [request.getfixturevalue("node"), str(NODE / f"{library.script}.mjs")]
    return python(library.script)
