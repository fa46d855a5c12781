"""The pytest plugin: a `telegram` fixture, a simulated Telegram to test bots against. See docs/simulator.md.

pytest loads this file in every project that has Kurir installed, so nothing but pytest is imported until a test asks
for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .harness import Telegram


@pytest.fixture
def telegram() -> Iterator[Telegram]:
    """A simulated Telegram on a free local port: give the bot `telegram.url` and `telegram.token`."""
    from .harness import Telegram  # noqa: PLC0415 - not at the top: see the head of this file

    with Telegram() as running:
        yield running
