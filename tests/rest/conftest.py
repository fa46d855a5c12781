"""A REST door on a free port: real uvicorn, real SQLite, the simulator as Telegram."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kurir.simulator.harness import Telegram

from .door import Door, opened


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KURIR_")]:
        monkeypatch.delenv(name)


@pytest.fixture
async def door(telegram: Telegram, tmp_path: Path) -> AsyncIterator[Door]:
    """With a courier: what is handed over is sent."""
    async with opened(telegram, tmp_path) as door:
        yield door


@pytest.fixture
async def still(telegram: Telegram, tmp_path: Path) -> AsyncIterator[Door]:
    """Without a courier: what is handed over waits."""
    async with opened(telegram, tmp_path, courier=False) as door:
        yield door
