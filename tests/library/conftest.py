"""Every store that a test asks for; no settings but the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kurir.ports import Store

from .helpers import a_store


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KURIR_")]:
        monkeypatch.delenv(name)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """One store after another, for virtual time."""
    return a_store(request.param, tmp_path)
