"""A gateway for each test that asks for one; no settings but the test's own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kurir.simulator.harness import Telegram

from .helpers import Door, opened


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KURIR_")]:
        monkeypatch.delenv(name)


@pytest.fixture
async def door(telegram: Telegram, tmp_path: Path) -> AsyncIterator[Door]:
    """The gateway before `telegram`."""
    async with opened(telegram, tmp_path) as door:
        yield door
