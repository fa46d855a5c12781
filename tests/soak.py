"""`KURIR_SOAK=1` (`make soak`): tests against real processes take as long, and are as large, as the promises say. Without it
they are as short as they can be and still fail when they should."""

from __future__ import annotations

import os
from typing import Final, TypeVar

SOAK: Final = bool(os.environ.get("KURIR_SOAK"))

T = TypeVar("T")


def sized(usual: T, soak: T) -> T:
    """One of them."""
    return soak if SOAK else usual
