"""What every courier of a process shares."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from kurir.core.events import Event
from kurir.ports import Clock, Store


@dataclass(frozen=True, slots=True)
class Tools:
    """The store, the time, who hears of events, how much may be in flight, and chance."""

    store: Store
    clock: Clock
    emit: Callable[[Event], None]
    concurrency: int = 100  # messages of one bot in flight at once
    rng: random.Random = field(default_factory=random.Random)
